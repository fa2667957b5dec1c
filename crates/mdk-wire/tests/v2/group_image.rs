use mdk_wire::v2::components::Image;
use mdk_wire::v2::group_image::{open, seal};
use mdk_wire::{Keys, OsRandom, Random, Secret};
use sha2::{Digest as _, Sha256};

use crate::kit::unhex;

/// Bytes that count up.
struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, buf: &mut [u8]) {
        for byte in buf {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

/// The ciphertext is that of another implementation of ChaCha20-Poly1305.
// shows: 2.2-28, 2.2-29
#[test]
fn a_blob_is_what_the_component_says() {
    let (blob, image) = seal(b"a picture".to_vec(), "image/png", &mut Counting(0)).unwrap();
    assert_eq!(blob, unhex("f61e51c52abe229f81dcd64cde8993f1f57a06ce0a8474fa7c"));
    assert_eq!(image.hash, <[u8; 32]>::from(Sha256::digest(&blob)));
    assert_eq!(open(&image, &blob).unwrap(), b"a picture");
    let component = Image(Some(image));
    assert_eq!(Image::decode(&component.encode().unwrap()).unwrap(), component);
}

// rule: 2.2-28, 2.2-29
#[test]
fn what_was_changed_does_not_open() {
    let (blob, image) = seal(b"a picture".to_vec(), "image/png", &mut OsRandom).unwrap();
    for at in 0..blob.len() {
        let mut flipped = blob.clone();
        flipped[at] ^= 1;
        assert_eq!(open(&image, &flipped), None);
        assert_eq!(open(&image, &blob[..at]), None);
        // A server that makes up a blob and a group that names it: still not what was encrypted.
        let mut forged = image.clone();
        forged.hash = Sha256::digest(&flipped).into();
        assert_eq!(open(&forged, &flipped), None);
    }
    let mut other = image.clone();
    other.media_type = "image/gif".into();
    assert_eq!(open(&other, &blob), None);
    other = image.clone();
    other.key = Secret::new([0; 32]);
    assert_eq!(open(&other, &blob), None);
}

#[test]
fn each_picture_has_keys_of_its_own() {
    let (blob, image) = seal(Vec::new(), "image/png", &mut OsRandom).unwrap();
    let (_, again) = seal(Vec::new(), "image/png", &mut OsRandom).unwrap();
    assert_eq!(blob.len(), 16);
    assert_ne!(image.key, again.key);
    assert_ne!(image.upload_key, again.upload_key);
    assert_ne!(image.upload_key, image.key);
    assert!(Keys::from_secret(image.upload_key.clone()).is_ok());
    assert!(seal(Vec::new(), "image/PNG", &mut OsRandom).is_err());
    struct Zeros;
    impl Random for Zeros {
        fn fill(&mut self, buf: &mut [u8]) {
            buf.fill(0);
        }
    }
    assert!(seal(Vec::new(), "image/png", &mut Zeros).is_err());
}
