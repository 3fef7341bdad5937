//! `docs/reference/rpc.md`: the service and its messages, with what `farm.proto` says of them.

use std::collections::HashMap;

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use vqfarm_testing::reference::{self, head, plain, table};

const ABOUT: &str = "
What the coordinator answers, by gRPC, at `--listen`: what the `vqfarm` command and the web page are made of. The file is
`proto/vqfarm/v1/farm.proto`; the server describes itself by reflection, too. A token goes along as the metadata
`authorization: Bearer TOKEN`. What a refused call says is in the [runbook](../runbook.md#refusals-by-their-code). Fields are only added:
none changes its number, type or meaning.
";

/// Comments of a file by the path of what they are about.
type Comments = HashMap<Vec<i32>, String>;

/// Numbers of fields of the descriptors, which paths are made of.
const MESSAGE: i32 = 4;
const ENUM: i32 = 5;
const SERVICE: i32 = 6;
const METHOD: i32 = 2;
const FIELD: i32 = 2;
const VALUE: i32 = 2;

#[test]
fn the_reference_is_what_the_code_says() {
    let set = FileDescriptorSet::decode(crate::v1::FILE_DESCRIPTOR_SET).unwrap();
    let file = set.file.iter().find(|file| file.package() == "vqfarm.v1").unwrap();
    reference::hold("rpc.md", &page(file));
}

fn page(file: &FileDescriptorProto) -> String {
    let comments = comments(file);
    let said = |path: &[i32]| comments.get(path).map_or(String::new(), |text| plain(text));
    let services = (0..).zip(&file.service).map(|(s, service)| {
        let rows = (0..).zip(&service.method).map(|(m, method)| {
            let stream = |streams: bool| if streams { "stream of " } else { "" };
            [
                format!("`{}`", method.name()),
                format!("{}{}", stream(method.client_streaming()), linked(method.input_type())),
                format!("{}{}", stream(method.server_streaming()), linked(method.output_type())),
                said(&[SERVICE, s, METHOD, m]),
            ]
        });
        let rows = table(["call", "takes", "answers", "what it does"], rows);
        section(service.name(), &said(&[SERVICE, s]), &rows)
    });
    let messages = (0..).zip(&file.message_type).map(|(m, message)| {
        let rows = (0..).zip(&message.field).map(|(f, field)| {
            let number = field.number().to_string();
            let name = format!("`{}`", field.name());
            [name, number, kind(message, field), said(&[MESSAGE, m, FIELD, f])]
        });
        let rows = match message.field.is_empty() {
            true => "No fields.\n".to_owned(),
            false => table(["field", "number", "type", "what it is"], rows),
        };
        section(message.name(), &said(&[MESSAGE, m]), &rows)
    });
    let enums = (0..).zip(&file.enum_type).map(|(e, words)| {
        let rows = (0..).zip(&words.value).map(|(v, value)| {
            let number = value.number().to_string();
            [format!("`{}`", value.name()), number, said(&[ENUM, e, VALUE, v])]
        });
        section(words.name(), &said(&[ENUM, e]), &table(["word", "number", "what it says"], rows))
    });
    let sections: String = services.chain(messages).chain(enums).collect();
    head("The service vqfarm.v1") + ABOUT + &sections
}

fn section(name: &str, about: &str, rows: &str) -> String {
    let about = if about.is_empty() { String::new() } else { format!("{about}\n\n") };
    format!("\n## {name}\n\n{about}{rows}")
}

/// What stands before each thing or behind it in its line, as one paragraph.
fn comments(file: &FileDescriptorProto) -> Comments {
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    let text = |location: &prost_types::source_code_info::Location| {
        let both = [location.leading_comments(), location.trailing_comments()].join(" ");
        both.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    locations.map(|location| (location.path.clone(), text(location))).collect()
}

/// A field's type as the file has it.
fn kind(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let entry = message.nested_type.iter().find(|nested| {
        let is_map = nested.options.as_ref().is_some_and(|options| options.map_entry());
        is_map && field.type_name().ends_with(&format!(".{}", nested.name()))
    });
    if let Some(entry) = entry {
        let [key, value] = [0, 1].map(|n| single(&entry.field[n]));
        return format!("map from {key} to {value}");
    }
    match field.label() {
        Label::Repeated => format!("list of {}", single(field)),
        _ if field.proto3_optional() => format!("{}, may be absent", single(field)),
        _ => single(field),
    }
}

fn single(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum => linked(field.type_name()),
        kind => format!("`{}`", kind.as_str_name().trim_start_matches("TYPE_").to_lowercase()),
    }
}

/// A message's name, leading to where it is told of.
fn linked(name: &str) -> String {
    match name.strip_prefix(".vqfarm.v1.") {
        Some(own) => format!("[{own}](#{})", own.to_lowercase()),
        None => format!("`{}`", name.trim_start_matches('.')),
    }
}
