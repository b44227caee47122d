//! A clock that is set by a file: built as a separate library and loaded before the system's (LD_PRELOAD), so that the
//! operator's wall clock can be wrong and jump while all others are right.
//!
//! The file that `SHIFTED_CLOCK` names has eight bytes, the number of nanoseconds by which the clock is ahead. It is
//! mapped once.

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::sync::atomic::{AtomicI64, AtomicPtr, Ordering};

#[repr(C)]
pub struct Time {
    seconds: i64,
    nanoseconds: i64,
}

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn getenv(name: *const c_char) -> *const c_char;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn close(file: c_int) -> c_int;
    fn mmap(at: *mut c_void, length: usize, protection: c_int, flags: c_int, file: c_int, offset: i64) -> *mut c_void;
}

#[cfg(target_arch = "x86_64")]
const CLOCK_GETTIME: c_long = 228;
#[cfg(target_arch = "aarch64")]
const CLOCK_GETTIME: c_long = 113;
const REALTIME: c_int = 0;
const READ: c_int = 1;
const SHARED: c_int = 1;
const BILLION: i64 = 1_000_000_000;

static SHIFT: AtomicPtr<AtomicI64> = AtomicPtr::new(std::ptr::null_mut());
static NONE: AtomicI64 = AtomicI64::new(0);

fn shift() -> i64 {
    let mut known = SHIFT.load(Ordering::Acquire);
    if known.is_null() {
        // SAFETY: the strings end in zero, and what was mapped for reading stays mapped.
        known = unsafe {
            let path = getenv(c"SHIFTED_CLOCK".as_ptr());
            let file = if path.is_null() || CStr::from_ptr(path).is_empty() { -1 } else { open(path, 0) };
            let mapped = if file < 0 { !0 as *mut c_void } else { mmap(std::ptr::null_mut(), 8, READ, SHARED, file, 0) };
            if file >= 0 {
                close(file);
            }
            if mapped as isize == -1 { &raw const NONE as *mut AtomicI64 } else { mapped.cast() }
        };
        SHIFT.store(known, Ordering::Release);
    }
    // SAFETY: it is aligned and stays where it is.
    unsafe { &*known }.load(Ordering::Relaxed)
}

/// The system's time, shifted if it is the wall clock.
///
/// # Safety
/// As of the system's own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Time) -> c_int {
    // SAFETY: the caller's.
    let failed = unsafe { syscall(CLOCK_GETTIME, c_long::from(clock), time) };
    if failed == 0 && clock == REALTIME {
        // SAFETY: the caller's.
        let time = unsafe { &mut *time };
        let all = i128::from(time.seconds) * i128::from(BILLION) + i128::from(time.nanoseconds) + i128::from(shift());
        time.seconds = all.div_euclid(i128::from(BILLION)) as i64;
        time.nanoseconds = all.rem_euclid(i128::from(BILLION)) as i64;
    }
    failed as c_int
}
