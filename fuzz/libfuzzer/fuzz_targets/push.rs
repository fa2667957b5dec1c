#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mdk_fuzz::targets::push::run(data));
