//! The calls by pointer. Memory handed in belongs to the caller, memory handed
//! out is valid until the next call.
//!
//! The one file of this crate with unsafe code: a C ABI has no other way.
#![allow(unsafe_code)]

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::core::Core;
use crate::record::Record;

/// What the caller reads after [`dt_poll`]: four numbers, then four addresses
/// and lengths.
#[repr(C)]
struct Output {
    numbers: [f64; 4],
    data: u32,
    data_len: u32,
    text: u32,
    text_len: u32,
}

struct Instance {
    core: Core,
    record: Record,
    output: Output,
}

static INSTANCE: Mutex<Option<Box<Instance>>> = Mutex::new(None);

fn lock() -> MutexGuard<'static, Option<Box<Instance>>> {
    INSTANCE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn with(call: impl FnOnce(&mut Core) -> u32) -> u32 {
    let mut instance = lock();
    let instance = instance.get_or_insert_with(|| {
        #[cfg(target_arch = "wasm32")]
        crate::host::tell_panics();
        Box::new(Instance {
            core: Core::default(),
            record: Record::none(),
            output: Output {
                numbers: [0.0; 4],
                data: 0,
                data_len: 0,
                text: 0,
                text_len: 0,
            },
        })
    });
    call(&mut instance.core)
}

/// The bytes at `pointer`.
///
/// # Safety
/// `pointer` and `len` describe memory of [`dt_alloc`] that the caller does not
/// touch during the call.
unsafe fn slice<'a>(pointer: *const u8, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    unsafe { std::slice::from_raw_parts(pointer, len) }
}

/// Memory for `len` bytes of input.
#[unsafe(no_mangle)]
extern "C" fn dt_alloc(len: usize) -> *mut u8 {
    Box::into_raw(vec![0u8; len].into_boxed_slice()).cast()
}

/// Gives memory of [`dt_alloc`] back.
///
/// # Safety
/// `pointer` came from `dt_alloc(len)` and is not used again.
#[unsafe(no_mangle)]
unsafe extern "C" fn dt_free(pointer: *mut u8, len: usize) {
    drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(pointer, len)) });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dt_command(now: f64, wall: f64, pointer: *const u8, len: usize) -> u32 {
    let json = unsafe { slice(pointer, len) };
    with(|core| core.command(now, wall, json))
}

#[unsafe(no_mangle)]
extern "C" fn dt_link_up(now: f64, wall: f64, link: u32, max_datagram: u32) -> u32 {
    with(|core| core.link_up(now, wall, link, max_datagram))
}

#[unsafe(no_mangle)]
extern "C" fn dt_link_beside(now: f64, wall: f64, link: u32) -> u32 {
    with(|core| core.link_beside(now, wall, link))
}

#[unsafe(no_mangle)]
extern "C" fn dt_link_down(now: f64, wall: f64, link: u32, code: u32) -> u32 {
    with(|core| core.link_down(now, wall, link, code))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dt_stream_data(
    now: f64,
    wall: f64,
    link: u32,
    stream: f64,
    pointer: *const u8,
    len: usize,
    fin: u32,
) -> u32 {
    let bytes = unsafe { slice(pointer, len) };
    with(|core| core.stream_data(now, wall, link, stream, bytes, fin != 0))
}

#[unsafe(no_mangle)]
extern "C" fn dt_stream_reset(now: f64, wall: f64, link: u32, stream: f64) -> u32 {
    with(|core| core.stream_reset(now, wall, link, stream))
}

#[unsafe(no_mangle)]
extern "C" fn dt_stream_backlog(now: f64, wall: f64, link: u32, stream: f64, bytes: u32) -> u32 {
    with(|core| core.stream_backlog(now, wall, link, stream, bytes))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dt_datagram(now: f64, wall: f64, pointer: *const u8, len: usize) -> u32 {
    let bytes = unsafe { slice(pointer, len) };
    with(|core| core.datagram(now, wall, bytes))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dt_encoded(
    now: f64,
    handle: u32,
    layer: u32,
    temporal: u32,
    key: u32,
    capture_us: f64,
    level: i32,
    pointer: *const u8,
    len: usize,
) -> u32 {
    let chunk = unsafe { slice(pointer, len) };
    with(|core| {
        core.encoded(
            now,
            handle,
            layer,
            temporal,
            key != 0,
            capture_us,
            level,
            chunk,
        )
    })
}

#[unsafe(no_mangle)]
extern "C" fn dt_key_frame_wanted(now: f64, wall: f64, track: u32) -> u32 {
    with(|core| core.key_frame_wanted(now, wall, track))
}

#[unsafe(no_mangle)]
extern "C" fn dt_tick(now: f64, wall: f64) -> u32 {
    with(|core| core.tick(now, wall))
}

#[unsafe(no_mangle)]
extern "C" fn dt_deadline() -> f64 {
    lock()
        .as_ref()
        .map_or(f64::INFINITY, |instance| instance.core.deadline())
}

/// Takes the next output: its kind, 0 where there is none. The record at
/// [`dt_record`] describes it until the next call of this.
#[unsafe(no_mangle)]
extern "C" fn dt_poll() -> u32 {
    let mut instance = lock();
    let Some(instance) = instance.as_mut() else {
        return 0;
    };
    instance.record = instance.core.poll();
    let record = &instance.record;
    instance.output = Output {
        numbers: record.numbers,
        data: address(record.data.as_ptr()),
        data_len: record.data.len() as u32,
        text: address(record.text.as_ptr()),
        text_len: record.text.len() as u32,
    };
    record.kind as u32
}

/// Where the record of the last [`dt_poll`] lies; 0 before the first call.
#[unsafe(no_mangle)]
extern "C" fn dt_record() -> u32 {
    lock().as_ref().map_or(0, |instance| {
        address(&raw const instance.output as *const u8)
    })
}

/// Addresses have 32 bits where this ABI is used.
fn address(pointer: *const u8) -> u32 {
    pointer as usize as u32
}
