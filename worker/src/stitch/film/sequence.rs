//! A film as numbered PNGs in one ZIP, for programs that cut films.
//!
//! PNGs do not get smaller by being packed, so they lie in it as they are.

use std::fs::{self, File};
use std::io::{BufWriter, Cursor, ErrorKind, Write};
use std::path::Path;

use image::ImageFormat;
use zip::write::FileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::{Picture, fault};
use crate::stitch::StitchError;

/// Writes pictures, numbered from 0: stored frames byte for byte.
pub(super) fn write(
    file: File,
    pictures: impl Iterator<Item = Picture>,
) -> Result<(), StitchError> {
    let mut sequence = Sequence::new(file);
    for picture in pictures {
        match picture.png {
            Some(png) => sequence.add(&png)?,
            None => {
                let mut png = Cursor::new(Vec::new());
                picture.pixels.write_to(&mut png, ImageFormat::Png)?;
                sequence.add(png.get_ref())?;
            }
        }
    }
    sequence.finish()
}

/// Writes the pictures that ffmpeg left in a folder.
pub(super) fn pack(file: File, folder: &Path) -> Result<(), StitchError> {
    let mut sequence = Sequence::new(file);
    loop {
        match fs::read(folder.join(name(sequence.count))) {
            Ok(png) => sequence.add(&png)?,
            Err(error) if error.kind() == ErrorKind::NotFound && sequence.count > 0 => break,
            Err(error) => return Err(StitchError::Film(error)),
        }
    }
    sequence.finish()
}

/// What picture `n` is called; ffmpeg writes it as [`NAMES`].
fn name(n: u64) -> String {
    format!("{n:06}.png")
}

/// [`name`] in ffmpeg's words.
pub(super) const NAMES: &str = "%06d.png";

struct Sequence {
    zip: ZipWriter<BufWriter<File>>,
    count: u64,
}

impl Sequence {
    fn new(file: File) -> Self {
        Self { zip: ZipWriter::new(BufWriter::new(file)), count: 0 }
    }

    fn add(&mut self, png: &[u8]) -> Result<(), StitchError> {
        // No time: the same frames give the same file.
        let options = FileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .unix_permissions(0o644);
        self.zip.start_file(name(self.count), options).map_err(unwritten)?;
        self.zip.write_all(png).map_err(StitchError::Film)?;
        self.count += 1;
        Ok(())
    }

    fn finish(mut self) -> Result<(), StitchError> {
        let mut file = self.zip.finish().map_err(unwritten)?;
        file.flush().map_err(StitchError::Film)
    }
}

fn unwritten(error: zip::result::ZipError) -> StitchError {
    fault(error.to_string())
}
