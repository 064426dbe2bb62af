#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| darktower_fuzz::signal::run(data));
