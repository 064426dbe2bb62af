//! Exports for tests alone: the vectors of `proto/vectors`, and one end of a meeting behind lines of text, to be set
//! against a native one.
#![allow(unsafe_code)]

use std::sync::{Mutex, PoisonError};

use darktower_vectors::End;

static MESSAGE: Mutex<String> = Mutex::new(String::new());
static END: Mutex<Option<End>> = Mutex::new(None);

/// Where the text of the last failure or answer lies.
#[unsafe(no_mangle)]
extern "C" fn dt_message() -> *const u8 {
    MESSAGE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .as_ptr()
}

/// How long that text is, in bytes.
#[unsafe(no_mangle)]
extern "C" fn dt_message_len() -> usize {
    MESSAGE.lock().unwrap_or_else(PoisonError::into_inner).len()
}

fn tell(text: String) {
    *MESSAGE.lock().unwrap_or_else(PoisonError::into_inner) = text;
}

/// The text at `pointer`.
///
/// # Safety
/// `pointer` and `len` describe memory of `dt_alloc` that the caller does not touch during the call.
unsafe fn text<'a>(pointer: *const u8, len: usize) -> Result<&'a str, String> {
    let bytes = unsafe { std::slice::from_raw_parts(pointer, len) };
    std::str::from_utf8(bytes).map_err(|error| error.to_string())
}

/// How many vectors a file holds; 0 and a message where one fails. The text is the file's name, a line feed, the file.
///
/// # Safety
/// `pointer` and `len` describe memory of `dt_alloc`.
#[unsafe(no_mangle)]
unsafe extern "C" fn dt_vectors(pointer: *const u8, len: usize) -> u32 {
    let checked = unsafe { text(pointer, len) }.and_then(|text| {
        let (name, json) = text.split_once('\n').ok_or("no name of a file")?;
        darktower_vectors::check(name, json)
    });
    checked.map_or_else(
        |reason| {
            tell(reason);
            0
        },
        |count| count as u32,
    )
}

/// Puts one line to the end in this instance; its answer is the message.
///
/// # Safety
/// `pointer` and `len` describe memory of `dt_alloc`.
#[unsafe(no_mangle)]
unsafe extern "C" fn dt_end(pointer: *const u8, len: usize) {
    let mut end = END.lock().unwrap_or_else(PoisonError::into_inner);
    let end = end.get_or_insert_with(End::new);
    tell(match unsafe { text(pointer, len) } {
        Ok(line) => end.answer(line),
        Err(reason) => format!("error {reason}"),
    });
}
