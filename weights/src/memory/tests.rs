use std::num::NonZero;

use super::*;

/// The f16 VQGAN of 16,384 rows and ViT-B/32.
fn published() -> Networks {
    let perceptors = vec![ClipConfig::vit_b_32()];
    Networks { generator: VqganConfig::imagenet_f16_16384(), perceptors }
}

fn square(side: u32, cuda: bool) -> Batch {
    Batch { pictures: 1, size: [side; 2], cutouts: 32, bf16: false, cuda }
}

#[test]
fn each_way_takes_less_than_the_quickest() {
    let networks = published();
    for (side, cuda) in [(256, true), (512, true), (1024, true), (512, false), (1024, false)] {
        let batch = square(side, cuda);
        let of = |thrift| networks.estimate(&batch, thrift).activations;
        let taken: Vec<u64> = batch.ways().map(of).collect();
        assert_eq!(taken.len(), if cuda { 5 } else { 2 });
        assert!(of(batch.most_frugal()) < taken[0] * 3 / 4, "{side}: {taken:?}");
        assert!(taken.iter().all(|way| *way <= taken[0]), "{side}: {taken:?}");
    }
    let one = Batch { cutouts: 1, ..square(256, true) };
    assert_eq!(one.ways().count(), 2, "one cutout cannot be split");
}

#[test]
fn more_of_anything_takes_more() {
    let networks = published();
    let of = |batch: Batch| networks.estimate(&batch, Thrift::default()).activations;
    let one = square(256, true);
    assert!(of(Batch { pictures: 2, ..one }) > of(one) * 19 / 10);
    assert!(of(Batch { size: [512, 256], ..one }) > of(one));
    assert!(of(Batch { cutouts: 64, ..one }) > of(one));
    assert!(of(Batch { bf16: true, ..one }) < of(one));
    let on_cpu = Batch { cuda: false, ..one };
    assert_eq!(of(Batch { pictures: 2, ..on_cpu }), of(on_cpu), "one after another");
    let weights = |bf16| networks.estimate(&Batch { bf16, ..one }, Thrift::default()).weights;
    assert!(weights(true) > weights(false), "bf16 keeps what it was made from");
}

#[test]
fn the_sizes_that_are_promised_fit() {
    let networks = published();
    for cuda in [false, true] {
        let taken = |side| {
            let batch = square(side, cuda);
            networks.estimate(&batch, batch.most_frugal()).total()
        };
        assert!(taken(512) < 8_000_000_000, "{}", taken(512));
        assert!(taken(1024) < 24_000_000_000, "{}", taken(1024));
    }
    assert!(networks.least(&square(2048, true)) > 8_000_000_000);
}

#[test]
fn the_cheapest_way_that_fits_is_chosen() {
    let networks = published();
    let batch = square(512, true);
    let taken = |thrift| networks.estimate(&batch, thrift).activations;
    assert_eq!(networks.cheapest(&batch, u64::MAX), Some(Thrift::default()));
    for way in batch.ways() {
        let chosen = networks.cheapest(&batch, taken(way)).expect("it fits");
        assert!(taken(chosen) <= taken(way), "{way}");
    }
    assert_eq!(networks.cheapest(&batch, 1 << 20), None);
}

#[test]
fn a_way_leads_to_the_next_one_down_to_the_last() {
    let batch = square(512, true);
    let mut at = Thrift::default();
    let mut seen = vec![at];
    while let Some(next) = batch.more_frugal(at) {
        at = next;
        seen.push(at);
    }
    assert_eq!(seen, batch.ways().collect::<Vec<_>>());
    let other = Thrift { cutouts_at_once: NonZero::new(3), ..at };
    assert_eq!(batch.more_frugal(other), None, "not one of them");
}

#[test]
fn hostile_sizes_make_no_nonsense() {
    let mut networks = published();
    networks.generator.ch = 1 << 20;
    networks.generator.ch_mult = vec![1 << 20; 10];
    networks.generator.n_embed = 1 << 20;
    let batch = Batch {
        pictures: u32::MAX,
        size: [u32::MAX; 2],
        cutouts: u32::MAX,
        bf16: true,
        cuda: true,
    };
    assert_eq!(networks.least(&batch), u64::MAX);
    assert_eq!(networks.cheapest(&batch, u64::MAX - 1), None);
}
