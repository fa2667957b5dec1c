//! A small mutator: a seed, changed in a few places. The same number always gives the same input.

use std::ops::Range;

use crate::targets::Target;

/// Ends of ranges, and values around which lengths and times change their form.
const NUMBERS: [u64; 19] = [
    0,
    1,
    0x3f,
    0x40,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x3fff,
    0x4000,
    0xffff,
    0x3fff_ffff,
    0x4000_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 32,
    i64::MAX as u64,
    u64::MAX,
];

/// What means something in JSON, in tags and in the line form of an event's members.
const TEXTS: [&str; 24] = [
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\0",
    "\n",
    "\n\n",
    "\t",
    "{",
    "}",
    "[",
    "[[",
    "]",
    ",",
    ":",
    "null",
    "-1",
    "1e999",
    "0x",
    "é",
    "\u{202e}",
    "\u{10ffff}",
    "=",
    " ",
];

/// Most changes to one input.
const CHANGES: usize = 6;

/// Longest piece that one change takes out or copies, as a power of two.
const PIECE: usize = 6;

/// Repeatable randomness (SplitMix64).
struct Dice(u64);

impl Dice {
    /// Another sequence for each target.
    fn new(target: &str, number: u64) -> Self {
        let mix = |mix: u64, byte: u8| (mix ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(target.bytes().chain(number.to_be_bytes()).fold(0xcbf2_9ce4_8422_2325, mix))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mix = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mix = (mix ^ (mix >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mix ^ (mix >> 31)
    }

    /// A number below `end`, 0 where there is none.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % (end as u64).max(1)) as usize
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// A place in so many bytes. A quarter are near the beginning, where most forms say what they are.
    fn place(&mut self, within: usize) -> usize {
        let near = if self.below(4) == 0 { within.min(16) } else { within };
        self.below(near)
    }

    /// A piece of so many bytes. Short ones are as likely as long ones.
    fn range(&mut self, within: usize) -> Range<usize> {
        let from = self.place(within);
        let most = 1 << self.below(PIECE + 1);
        from..(from + 1 + self.below(most)).min(within)
    }

    /// A byte, in most cases one that leaves text what it is.
    fn byte(&mut self, text: bool) -> u8 {
        let byte = self.next() as u8;
        if text && self.below(16) > 0 { b' ' + byte % 95 } else { byte }
    }
}

/// The input with this number: one of the `seeds`, changed in up to six places, and never longer than the target's longest.
///
/// # Panics
/// If there are no seeds.
#[must_use]
pub fn mutated(target: &Target, seeds: &[Vec<u8>], number: u64) -> Vec<u8> {
    let dice = &mut Dice::new(target.name, number);
    let mut data = dice.pick(seeds).clone();
    let text = std::str::from_utf8(&data).is_ok();
    for _ in 0..=dice.below(CHANGES) {
        change(&mut data, text, seeds, dice);
    }
    data.truncate(target.longest);
    data
}

fn change(data: &mut Vec<u8>, text: bool, seeds: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.place(data.len());
    match dice.below(12) {
        // Of a byte of ASCII, bits that leave it one.
        0 if !data.is_empty() => data[at] ^= 1 << dice.below(if text { 7 } else { 8 }),
        1 if !data.is_empty() => data[at] = dice.byte(text),
        2 => data.insert(at, dice.byte(text)),
        // The same byte many times: what is too long.
        3 => {
            let (byte, count) = (dice.byte(text), 1 << dice.below(10));
            data.splice(at..at, std::iter::repeat_n(byte, count));
        }
        4 => drop(data.drain(dice.range(data.len()))),
        // Something twice.
        5 => {
            let piece = data[dice.range(data.len())].to_vec();
            data.splice(at..at, piece);
        }
        // A piece of another seed, inserted or in the place of as much.
        6 | 7 => {
            let other = dice.pick(seeds);
            let piece = &other[dice.range(other.len())];
            let end = if dice.below(2) == 0 { at } else { (at + piece.len()).min(data.len()) };
            data.splice(at..end, piece.iter().copied());
        }
        // This seed's beginning and another one's end.
        8 => {
            let other = dice.pick(seeds);
            data.truncate(at);
            data.extend_from_slice(&other[at.min(other.len())..]);
        }
        9 | 10 => {
            let piece = number(text, dice);
            let end = (at + piece.len()).min(data.len());
            data.splice(at..end, piece);
        }
        11 if text => {
            let piece = dice.pick(&TEXTS).bytes();
            data.splice(at..at, piece);
        }
        _ => data.truncate(at),
    }
}

/// One of the numbers in one, two, four or eight bytes, or in digits.
fn number(text: bool, dice: &mut Dice) -> Vec<u8> {
    let number = *dice.pick(&NUMBERS);
    if text {
        return number.to_string().into_bytes();
    }
    let skipped = 8 - (1 << dice.below(4));
    number.to_be_bytes()[skipped..].to_vec()
}
