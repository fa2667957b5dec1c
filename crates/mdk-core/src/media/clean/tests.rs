//! Pictures with everything in them that must not leave, and pictures of a false type.
#![allow(clippy::unwrap_used)]

use std::io::Cursor;

use image::codecs::gif::GifEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::metadata::Orientation;
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder as _, ImageEncoder as _, ImageFormat,
    ImageReader, Rgba, RgbaImage,
};

use super::png::crc32;
use super::{Clean, exif_of, gif, jpeg, orientation_of, png, webp};
use crate::media::file_type::{Format, mime_type};
use crate::media::picture::prepare;
use crate::model::error::Error;

/// The words that no cleaned picture has.
const SECRETS: [&[u8]; 4] = [b"GPSLatitude", b"Canon", b"adobe:ns:meta", b"the cat of Alice"];

fn picture(width: u32, height: u32) -> RgbaImage {
    RgbaImage::from_fn(width, height, |x, y| Rgba([(x * 7) as u8, (y * 5) as u8, 90, 255]))
}

/// EXIF with an orientation and things that say too much.
fn exif(orientation: u8) -> Vec<u8> {
    let mut exif = exif_of(Orientation::Rotate90).unwrap().to_vec();
    exif[19] = orientation;
    exif.extend_from_slice(b"GPSLatitude 52.5 Canon");
    exif
}

fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 2).unwrap().to_be_bytes();
    [&[0xff, marker], &length[..], body].concat()
}

/// A photograph as a telephone makes it.
fn photograph(orientation: u8) -> Vec<u8> {
    let mut plain = Vec::new();
    let pixels = DynamicImage::from(picture(40, 30)).into_rgb8();
    JpegEncoder::new(&mut plain).encode_image(&pixels).unwrap();
    let added = [
        segment(0xe1, &[b"Exif\0\0", &exif(orientation)[..]].concat()),
        segment(0xe1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"),
        segment(0xe2, b"MPF\0Canon"),
        segment(0xe2, b"ICC_PROFILE\0\x01\x01profile"),
        segment(0xed, b"Photoshop 3.0\0the cat of Alice"),
        segment(0xfe, b"the cat of Alice"),
    ]
    .concat();
    let mut photograph = [&plain[..2], &added, &plain[2..]].concat();
    photograph.extend_from_slice(b"a film behind the end: GPSLatitude");
    photograph
}

fn png_chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let named = [&name[..], body].concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&length[..], &named, &crc32(&named).to_be_bytes()].concat()
}

fn screenshot(orientation: u8) -> Vec<u8> {
    let mut plain = Vec::new();
    let pixels = picture(40, 30);
    let encoder = PngEncoder::new(&mut plain);
    encoder.write_image(&pixels, 40, 30, ExtendedColorType::Rgba8).unwrap();
    // Behind the signature and the header.
    let at = 8 + 25;
    let added = [
        png_chunk(b"tEXt", b"Author\0the cat of Alice"),
        png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0adobe:ns:meta"),
        png_chunk(b"tIME", &[7, 230, 1, 1, 1, 1, 1]),
        png_chunk(b"eXIf", &exif(orientation)),
        png_chunk(b"prVt", b"Canon"),
        png_chunk(b"gAMA", &45455u32.to_be_bytes()),
    ]
    .concat();
    let mut png = [&plain[..at], &added, &plain[at..]].concat();
    png.extend_from_slice(b"GPSLatitude behind the end");
    png
}

fn webp_chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    let padding: &[u8] = if body.len() % 2 == 1 { &[0] } else { &[] };
    [&name[..], &length, body, padding].concat()
}

/// With and without the extended header.
fn web_picture(orientation: Option<u8>) -> Vec<u8> {
    let mut plain = Vec::new();
    let encoder = WebPEncoder::new_lossless(&mut plain);
    encoder.write_image(&picture(40, 30), 40, 30, ExtendedColorType::Rgba8).unwrap();
    let Some(orientation) = orientation else {
        plain.extend_from_slice(b"GPSLatitude behind the end");
        return plain;
    };
    let pixels = plain[12..].to_vec();
    let body = [
        b"WEBP".to_vec(),
        webp_chunk(b"VP8X", &[0x10 | 0x08 | 0x04, 0, 0, 0, 39, 0, 0, 29, 0, 0]),
        pixels,
        webp_chunk(b"EXIF", &exif(orientation)),
        webp_chunk(b"XMP ", b"adobe:ns:meta"),
        webp_chunk(b"odd ", b"Canon"),
    ]
    .concat();
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    [b"RIFF".to_vec(), length.to_vec(), body].concat()
}

fn animation() -> Vec<u8> {
    let mut plain = Vec::new();
    {
        let mut encoder = GifEncoder::new(&mut plain);
        encoder.set_repeat(image::codecs::gif::Repeat::Infinite).unwrap();
        for size in [40, 40] {
            encoder.encode_frame(image::Frame::new(picture(size, 30))).unwrap();
        }
    }
    let end = plain.len() - 1;
    let added = [
        b"\x21\xfe\x10the cat of Alice\x00".to_vec(),
        b"\x21\xff\x0bXMP DataXMP\x0dadobe:ns:meta\x00".to_vec(),
        b"\x21\x01\x05Canon\x00".to_vec(),
    ]
    .concat();
    let mut gif = [&plain[..end], &added, &plain[end..]].concat();
    gif.extend_from_slice(b"GPSLatitude behind the end");
    gif
}

fn decoded(data: &[u8], format: ImageFormat) -> (DynamicImage, Orientation) {
    let mut decoder = ImageReader::with_format(Cursor::new(data), format).into_decoder().unwrap();
    let orientation = decoder.orientation().unwrap();
    (DynamicImage::from_decoder(decoder).unwrap(), orientation)
}

fn tells(data: &[u8]) -> Option<&'static [u8]> {
    let has = |secret: &&[u8]| data.windows(secret.len()).any(|window| window == *secret);
    SECRETS.into_iter().find(has)
}

#[test]
fn nothing_is_left_but_the_picture_and_how_it_is_turned() {
    type Make = fn(u8) -> Vec<u8>;
    let formats: [(ImageFormat, Clean, Make); 3] = [
        (ImageFormat::Jpeg, jpeg, photograph),
        (ImageFormat::Png, png, screenshot),
        (ImageFormat::WebP, webp, |turned| web_picture(Some(turned))),
    ];
    for (format, clean, make) in formats {
        for turned in 1..=8 {
            let data = make(turned);
            assert!(tells(&data).is_some());
            let cleaned = clean(&data).unwrap_or_else(|| panic!("{format:?}"));
            assert_eq!(tells(&cleaned.data), None, "{format:?}");
            let (before, after) = (decoded(&data, format), decoded(&cleaned.data, format));
            assert!(before.0 == after.0, "{format:?}: other pixels");
            assert_eq!(cleaned.orientation.to_exif(), turned, "{format:?}");
            assert_eq!(after.1.to_exif(), turned, "{format:?}");
            // A clean picture stays as it is.
            assert!(clean(&cleaned.data).unwrap().data == cleaned.data, "{format:?}");
        }
    }
    let profile = jpeg(&photograph(1)).unwrap().data;
    assert!(profile.windows(11).any(|window| window == b"ICC_PROFILE"), "colours stay");
    let gamma = png(&screenshot(1)).unwrap().data;
    assert!(gamma.windows(4).any(|window| window == b"gAMA"), "colours stay");
    for (format, clean, data) in [
        (ImageFormat::WebP, webp as Clean, web_picture(None)),
        (ImageFormat::Gif, gif as Clean, animation()),
    ] {
        let cleaned = clean(&data).unwrap().data;
        assert!(tells(&data).is_some() && tells(&cleaned).is_none(), "{format:?}");
        assert!(decoded(&data, format).0 == decoded(&cleaned, format).0, "{format:?}");
        assert!(clean(&cleaned).unwrap().data == cleaned, "{format:?}");
    }
    let repeated = gif(&animation()).unwrap().data;
    assert!(repeated.windows(11).any(|window| window == b"NETSCAPE2.0"), "it still repeats");
}

/// No cut and no changed byte makes it panic, and nothing grows without bound.
#[test]
fn damaged_pictures_are_refused_or_cleaned() {
    let formats: [(Clean, Vec<u8>); 4] = [
        (jpeg, photograph(6)),
        (png, screenshot(6)),
        (webp, web_picture(Some(6))),
        (gif, animation()),
    ];
    for (clean, data) in formats {
        for at in 0..data.len() {
            if let Some(cleaned) = clean(&data[..at]) {
                assert!(cleaned.data.len() <= at + 64);
            }
            for bit in [0x01, 0x80, 0xff] {
                let mut changed = data.clone();
                changed[at] ^= bit;
                if let Some(cleaned) = clean(&changed) {
                    assert!(cleaned.data.len() <= data.len() + 64);
                }
            }
        }
        assert!(clean(b"").is_none());
        assert!(clean(b"GIF89a and then nothing of the kind").is_none());
    }
}

#[test]
fn sizes_and_previews_are_as_shown() {
    let sent = |data: &[u8], strip| prepare(data, "image/jpeg", strip).unwrap();
    let upright = sent(&photograph(1), true);
    let turned = sent(&photograph(6), true);
    assert_eq!(upright.dimensions, Some((40, 30)));
    assert_eq!(turned.dimensions, Some((30, 40)));
    assert!(upright.thumbhash.is_some() && upright.thumbhash != turned.thumbhash);
    // Without cleaning the same is said, and nothing is changed.
    let raw = sent(&photograph(6), false);
    assert!(raw.data == photograph(6));
    assert_eq!((raw.dimensions, raw.thumbhash), (turned.dimensions, turned.thumbhash));
    // Sent as a nameless file it is cleaned all the same, and is no picture.
    let nameless = prepare(&photograph(6), "application/octet-stream", true).unwrap();
    assert_eq!(
        (tells(&nameless.data), nameless.dimensions, nameless.thumbhash),
        (None, None, None)
    );
    // Large ones are made small first.
    let mut large = Vec::new();
    let encoder = PngEncoder::new(&mut large);
    encoder.write_image(&picture(300, 150), 300, 150, ExtendedColorType::Rgba8).unwrap();
    let large = prepare(&large, "image/png", true).unwrap();
    assert_eq!(large.dimensions, Some((300, 150)));
    assert!(large.thumbhash.unwrap().len() < 40);
}

fn png_of(width: u32, height: u32, depth: u8) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[depth, 6, 0, 0, 0]].concat();
    let pixels = [0x78, 0x9c, 0x03, 0, 0, 0, 0, 1];
    let signature = b"\x89PNG\r\n\x1a\n".to_vec();
    let chunks =
        [png_chunk(b"IHDR", &header), png_chunk(b"IDAT", &pixels), png_chunk(b"IEND", b"")];
    [signature, chunks.concat()].concat()
}

#[test]
fn bombs_are_refused_by_their_header() {
    let refused = |data: &[u8]| match prepare(data, "image/png", true) {
        Err(Error::MediaTooLarge { what, limit, actual }) => (what, limit, actual),
        other => panic!("{:?}", other.map(|_| ())),
    };
    let most = 50_000_000;
    assert_eq!(refused(&png_of(50_000_001, 1, 8)), ("pixels", most, most + 1));
    assert_eq!(refused(&png_of(40_000, 40_000, 8)).2, 1_600_000_000);
    // 16 bits a channel: few enough pixels, too many bytes.
    assert_eq!(refused(&png_of(40_000_000, 1, 16)), ("bytes of pixels", 256 << 20, 320_000_000));
    let allowed = prepare(&png_of(25_000_000, 2, 8), "image/png", true).unwrap();
    assert_eq!(allowed.dimensions, Some((25_000_000, 2)));
    assert_eq!(allowed.thumbhash, None, "there are no pixels to make it of");
}

#[test]
fn what_cannot_be_cleaned_is_not_sent_by_chance() {
    let heic = b"\0\0\0\x18ftypheic\0\0\0\0";
    let refused =
        |data: &[u8], kind: &str| matches!(prepare(data, kind, true), Err(Error::Media(_)));
    for data in [&heic[..], b"\0\0\0\x18ftypavif", b"II*\0raw", b"MM\0*raw", b"\xff\x0ajxl"] {
        assert!(refused(data, "application/octet-stream"), "{data:?}");
        assert!(prepare(data, "image/heic", false).unwrap().data == data);
    }
    assert!(refused(b"<svg/>", "image/svg+xml"));
    assert!(refused(&photograph(1)[..60], "image/jpeg"));
    assert!(prepare(&photograph(1)[..60], "image/jpeg", false).is_ok());
    for other in [&b""[..], b"text", b"%PDF-1.7"] {
        assert!(prepare(other, "text/plain", true).unwrap().data == other);
    }
}

#[test]
fn the_kind_of_a_file() {
    let kind = |data: &[u8], name: &str, given| mime_type(data, name, given).unwrap();
    assert_eq!(kind(b"", "a.txt", Some(" Image/JPG; q=1")), "image/jpeg");
    assert!(mime_type(b"", "a.txt", Some("picture")).is_err());
    // The type of a picture follows from its content, that of other files from the name first.
    assert_eq!(kind(&photograph(1), "a.png", None), "image/jpeg");
    assert_eq!(kind(&screenshot(1), "a", None), "image/png");
    assert_eq!(kind(&web_picture(None), "", None), "image/webp");
    assert_eq!(kind(&animation(), "x", None), "image/gif");
    assert_eq!(kind(b"PK\x03\x04", "a.CSV", None), "text/csv");
    assert_eq!(kind(b"PK\x03\x04", "a.docx", None), "application/zip");
    assert_eq!(kind(b"%PDF-1.7", "report", None), "application/pdf");
    assert_eq!(kind(b"\0\0\0\x18ftypM4A ", "", None), "audio/mp4");
    assert_eq!(kind(b"\0\0\0\x18ftypisom", "", None), "video/mp4");
    assert_eq!(kind(b"?", "a.b.mp3", None), "audio/mpeg");
    assert_eq!(kind(b"?", "mp3", None), "application/octet-stream");
    for (data, format) in
        [(&b"RIFF1234WAVE"[..], None), (b"\0\0\0\x18ftypheic", Some(Format::Heif))]
    {
        assert_eq!(Format::of(data), format);
    }
    assert_eq!(orientation_of(b"nonsense"), Orientation::NoTransforms);
}
