//! What the module says to its host besides the outputs: the text of a panic, before the trap.
#![allow(unsafe_code)]

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn host_panic(pointer: *const u8, len: usize);
}

/// Hands the text of each panic to the host, which drops the instance: after a trap its memory means nothing.
pub(crate) fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.to_string();
        // SAFETY: the host reads `len` bytes at `pointer` and keeps neither.
        unsafe { host_panic(text.as_ptr(), text.len()) }
    }));
}
