use proptest::prelude::*;

use super::*;

fn at(text: &str, frame: f64) -> f64 {
    let moment = Moment { frame, frames: 100.0, fps: 24.0, seed: 7 };
    Schedule::text(text).at(&moment).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn near(found: f64, wanted: f64) {
    assert!((found - wanted).abs() < 1e-12, "{found} is not {wanted}");
}

#[test]
fn expressions_come_to_what_they_say() {
    let table = [
        ("1 + 2 * 3", 7.0),
        ("(1 + 2) * 3", 9.0),
        ("-2**2", -4.0),
        ("2^3^2", 512.0),
        ("2**-1", 0.5),
        ("7 % 4", 3.0),
        ("-1 % 4", 3.0),
        ("10 - 3 - 2", 5.0),
        ("1e3 + .5", 1000.5),
        ("t / frames * fps", 12.0),
        ("seed", 7.0),
        ("sin(2*pi*t/48)", (std::f64::consts::TAU * 50.0 / 48.0).sin()),
        ("where(t > 40, 1, 2)", 1.0),
        ("where(t > 40 and t < 45, 1, 2)", 2.0),
        ("where(not (t == 50) || 0, 1, 2)", 2.0),
        ("min(3, 1, 2) + max(3, 1, 2)", 4.0),
        ("clamp(t, 0, 10)", 10.0),
        ("lerp(2, 4, 0.25)", 2.5),
        ("smoothstep(0, 100, t)", 0.5),
        ("atan2(1, 1) * 4 / pi", 1.0),
        ("round(2.5) + floor(-0.5) + ceil(0.2) + fract(1.25)", 3.25),
        // The branch that is not taken may be nothing.
        ("where(t > 0, 1 / t, 1 / 0)", 0.02),
    ];
    for (text, wanted) in table {
        near(at(text, 50.0), wanted);
    }
}

#[test]
fn numbers_move_evenly_and_expressions_go_their_own_way() {
    let text = "0:(1), 10:(2), 20:(t), 30: 7";
    for (frame, wanted) in
        [(0.0, 1.0), (5.0, 1.5), (10.0, 2.0), (15.0, 11.0), (20.0, 20.0), (25.0, 25.0), (30.0, 7.0)]
    {
        near(at(text, frame), wanted);
    }
    near(at(text, 1000.0), 7.0);
    // Before the first key there is nothing else than its value.
    near(at("5:(t*2), 6:(0)", 0.0), 10.0);
}

#[test]
fn words_say_how_a_value_gets_to_the_next_key() {
    near(at("0:(0) hold, 10:(1)", 9.9), 0.0);
    near(at("0:(0) ease, 10:(1)", 2.5), 0.15625);
    near(at("0:(0) linear, 10:(1)", 2.5), 0.25);
    // Both expressions go on while one fades into the other.
    near(at("0:(t) linear, 10:(2*t)", 5.0), 7.5);
    // A spline passes its keys and keeps a straight line straight.
    let text = "0:0 spline, 10:10 spline, 20:20 spline, 40:40";
    for frame in [0.0, 3.0, 10.0, 14.5, 33.0, 40.0] {
        near(at(text, frame), frame);
    }
    // It leaves a key as it came.
    let text = "0:0 spline, 10:4 spline, 20:2";
    let slope = |a: f64, b: f64| (at(text, b) - at(text, a)) / (b - a);
    assert!((slope(9.999, 10.0) - slope(10.0, 10.001)).abs() < 1e-3);
}

#[test]
fn noise_is_smooth_repeatable_and_of_the_seed() {
    let value = |x: f64, seed| {
        let moment = Moment { frame: x, frames: 1.0, fps: 1.0, seed };
        Schedule::text("noise(t / 10)").at(&moment).unwrap()
    };
    near(value(20.0, 1), 0.0);
    assert!(value(25.0, 1) != value(25.0, 2));
    assert_eq!(value(25.0, 1), value(25.0, 1));
    assert!((0..2000).all(|x| value(f64::from(x) / 3.0, 3).abs() <= 1.0));
    let steps = (0..2000).map(|x| (value(f64::from(x), 4) - value(f64::from(x + 1), 4)).abs());
    assert!(steps.fold(0.0, f64::max) < 0.5);
    assert!(at("noise(0.5, 1)", 0.0) != at("noise(0.5, 2)", 0.0));
}

#[test]
fn mistakes_are_shown_where_they_are() {
    let table = [
        ("0:(1.02 + sine(t))", 10..14, "no function `sine`; did you mean `sin`?"),
        ("0:(1), 60:(2", 12..12, "expected an operator or `)`, found the end"),
        ("1 +", 3..3, "expected a number, a variable, a function or `(`, found the end"),
        ("qq", 0..2, "no variable `qq`; known are t, frames"),
        ("sin", 0..3, "the function `sin` needs its arguments"),
        ("clamp(t, 1)", 0..5, "`clamp` takes 3 arguments, not 2"),
        (
            "0:(1) easy, 5:(2)",
            6..10,
            "no way from one key to the next `easy`; did you mean `ease`?",
        ),
        ("5:(1), 5:(2)", 7..8, "frame 5 has two values"),
        ("5:(1), 4:(2)", 7..8, "frame 4 comes after frame 5"),
        ("0.5:(1)", 0..3, "0.5 is not the number of a frame"),
        ("1 < t < 3", 6..7, "two comparisons in a row"),
        ("1 $ 2", 2..3, "'$' means nothing"),
        ("0:(1) 5:(2)", 6..7, "expected an operator, a comma before the next key, or the end"),
        ("", 0..0, "expected a number"),
        ("1.2.3", 3..5, "expected an operator or the end, found the number 0.3"),
    ];
    for (text, place, message) in table {
        let schedule = Schedule::text(text);
        let error = schedule.error().unwrap_or_else(|| panic!("{text} is readable"));
        assert!(error.to_string().starts_with(message), "{text}: {error}");
        assert_eq!(error.at, place, "{text}: {error}");
    }
}

#[test]
fn run_away_expressions_are_refused() {
    let deep = format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000));
    let signs = "-".repeat(100_000) + "1";
    let powers = "2**".repeat(100_000) + "2";
    let long = "1+".repeat(5_000) + "1";
    let huge = " ".repeat(1 << 20);
    let keys: String = (0..20_000).map(|frame| format!("{frame}:1,")).collect();
    for text in [deep, signs, powers, long, huge, keys] {
        let schedule = Schedule::text(text);
        let error = schedule.error().expect("it is refused").to_string();
        assert!(error.contains("more than") || error.contains("most"), "{error}");
    }
}

#[test]
fn a_value_that_is_no_number_is_named_with_its_frame() {
    let moment = Moment { frame: 3.0, frames: 10.0, fps: 24.0, seed: 0 };
    let error = Schedule::text("1 / (t - 3)").at(&moment).unwrap_err();
    assert_eq!(error.to_string(), "comes to inf at frame 3");
}

#[test]
fn files_write_numbers_and_texts() {
    let read = |json: &str| serde_json::from_str::<Schedule>(json);
    for json in ["1.5", "\"0:(1), 5:(2)\""] {
        assert_eq!(serde_json::to_string(&read(json).unwrap()).unwrap(), json);
    }
    assert!(read("true").unwrap_err().to_string().contains("a number or a schedule"));
    assert!(read("3").unwrap().is_steady() && !read("\"t\"").unwrap().is_steady());
}

proptest! {
    #[test]
    fn any_text_is_answered(text in "(?s).{0,60}") {
        let _ = Schedule::text(text).at(&Moment { frame: 1.0, frames: 2.0, fps: 3.0, seed: 4 });
    }

    #[test]
    fn any_words_of_the_language_are_answered(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "0:", "10:", "(", ")", ",", "t", "1.5", "+", "-", "*", "/", "**", "sin(", "min(",
                "where(", "<", "and", "not", "ease", "hold", "spline", "noise(", "%",
            ]),
            0..40,
        )
    ) {
        let schedule = Schedule::text(words.join(" "));
        let moment = Moment { frame: 5.0, frames: 20.0, fps: 24.0, seed: 4 };
        match schedule.error() {
            Some(error) => prop_assert!(error.at.end <= schedule.as_text().unwrap().len()),
            None => if let Ok(value) = schedule.at(&moment) { prop_assert!(value.is_finite()) },
        }
    }

    #[test]
    fn numbers_stay_between_their_keys(
        values in proptest::collection::vec(-9.0..9.0f64, 2..6), frame in 0.0..60.0f64,
    ) {
        let keys: Vec<String> =
            values.iter().enumerate().map(|(i, v)| format!("{}:({v})", i * 10)).collect();
        let found = at(&keys.join(", "), frame);
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        prop_assert!(low - 1e-9 <= found && found <= high + 1e-9);
    }
}
