//! The C library's allocator, which libtorch's tensors on a CPU come from.

/// Keeps freed memory for the next tensors. Otherwise large ones are given back to the kernel
/// at once, and it clears them again for the next: a sixth of the time of a 256 × 256 picture.
///
/// To be called first in a program that renders, before it starts threads: they then share one
/// heap, which is what keeps large blocks. Does nothing but with glibc.
pub fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::keep();
}

/// Gives back to the system what is kept and not in use.
pub(super) fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::trim();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use libc::{M_ARENA_MAX, M_MMAP_MAX, M_TOP_PAD, M_TRIM_THRESHOLD, c_int, malloc_trim, mallopt};

    const SETTINGS: [(c_int, c_int); 4] = [
        // No block is mapped for itself; threads have no heaps of their own, as those stay small.
        (M_MMAP_MAX, 0),
        (M_ARENA_MAX, 1),
        // The heap grows by so many bytes at least, and shrinks when more than 2 GiB lie idle.
        (M_TOP_PAD, 64 << 20),
        (M_TRIM_THRESHOLD, c_int::MAX),
    ];

    #[allow(unsafe_code, reason = "mallopt is a C function")]
    pub fn keep() {
        for (parameter, value) in SETTINGS {
            // SAFETY: mallopt only sets the allocator's parameters, under its own lock.
            unsafe { mallopt(parameter, value) };
        }
    }

    #[allow(unsafe_code, reason = "malloc_trim is a C function")]
    pub fn trim() {
        // SAFETY: malloc_trim only returns pages that nothing uses, under its own lock.
        unsafe { malloc_trim(0) };
    }
}
