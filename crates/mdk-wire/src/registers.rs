//! The vector registers, through which every copy of a secret goes and in which ciphers leave keys.
//!
//! What is still there when a call returns gets to the stack without anybody's doing: a dynamic linker that binds lazily
//! saves them there at the first call of a function, and so does the kernel when a signal comes. A core dump has them, too.

/// Clears them. On other processors than x86-64 nothing is done.
#[inline(never)]
pub(crate) fn clear() {
    #[cfg(target_arch = "x86_64")]
    x86::clear();
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::{asm, is_x86_feature_detected, x86_64::_mm256_zeroall};

    pub(super) fn clear() {
        if is_x86_feature_detected!("avx") {
            // SAFETY: the processor has the instruction. To the compiler it is a call, after which they hold nothing.
            unsafe { _mm256_zeroall() }
        }
        if is_x86_feature_detected!("avx512vl") {
            // The upper half, which that leaves as it is, and which the C library prefers for copying.
            // SAFETY: as above; no calling convention keeps anything in these over a call.
            unsafe {
                asm!(
                    ".irp r, 16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
                    "vpxord xmm\\r, xmm\\r, xmm\\r",
                    ".endr",
                    clobber_abi("C"),
                    options(nomem, nostack, preserves_flags)
                );
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use crate::{Secret, SecretVec};
        use std::hint::black_box;

        use super::*;

        const KEY: [u8; 32] = *b"0123456789abcdefGHIJKLMNOPQRSTUV";

        /// The first 32 bytes of each register. Reads what the calls before have left, so nothing may stand in between.
        type Registers = [[u8; 32]; 32];

        #[inline(never)]
        fn save(into: &mut Registers) {
            // SAFETY: the array has room for what is written, and the processor was asked for the instructions.
            unsafe {
                if is_x86_feature_detected!("avx512vl") {
                    asm!(
                        ".irp r, 16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
                        "vmovdqu64 [{0} + 32 * \\r], ymm\\r",
                        ".endr",
                        in(reg) into,
                        options(nostack, preserves_flags)
                    );
                }
                asm!(
                    ".irp r, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
                    "vmovdqu [{0} + 32 * \\r], ymm\\r",
                    ".endr",
                    in(reg) into,
                    options(nostack, preserves_flags)
                );
            }
        }

        /// Puts the key into every register.
        #[inline(never)]
        fn load(from: &[u8; 32]) {
            // SAFETY: as above.
            unsafe {
                if is_x86_feature_detected!("avx512vl") {
                    asm!(
                        ".irp r, 16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
                        "vmovdqu64 ymm\\r, [{0}]",
                        ".endr",
                        in(reg) from,
                        clobber_abi("C"),
                        options(nostack, preserves_flags)
                    );
                }
                asm!(
                    ".irp r, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
                    "vmovdqu ymm\\r, [{0}]",
                    ".endr",
                    in(reg) from,
                    clobber_abi("C"),
                    options(nostack, preserves_flags)
                );
            }
        }

        /// How many hold a part of the key.
        fn holding(registers: &Registers) -> usize {
            let part = |bytes: &[u8]| KEY.chunks(8).any(|part| bytes.windows(8).any(|b| b == part));
            registers.iter().filter(|bytes| part(*bytes)).count()
        }

        #[test]
        fn what_copies_a_secret_leaves_nothing_in_registers() {
            if !is_x86_feature_detected!("avx") {
                return;
            }
            let all = if is_x86_feature_detected!("avx512vl") { 32 } else { 16 };
            let mut found: Registers = [[0; 32]; 32];
            load(&KEY);
            save(&mut found);
            assert_eq!(holding(&found), all, "positive control");
            load(&KEY);
            clear();
            save(&mut found);
            assert_eq!(holding(&found), 0);

            let secret = Secret::new(KEY);
            let text = SecretVec::new(KEY.to_vec());
            let short = Made::Short;
            let long = Made::Long;
            let makes: [(&str, &dyn Fn() -> Made); 6] = [
                ("new", &|| short(Secret::new(black_box(KEY)))),
                ("init", &|| short(Secret::init(load_and_write))),
                ("from_slice", &|| short(Secret::from_slice(text.expose()).expect("32 bytes"))),
                ("clone", &|| short(secret.clone())),
                ("bytes", &|| long(SecretVec::new(text.expose().to_vec()))),
                ("clone of bytes", &|| long(text.clone())),
            ];
            for (name, make) in makes {
                load(&KEY);
                let made = make();
                save(&mut found);
                assert_eq!(holding(&found), 0, "{name}");
                drop(made);
            }
        }

        /// Kept until the registers are looked at: to wipe it is to write to them.
        enum Made {
            Short(#[allow(dead_code)] Secret<32>),
            Long(#[allow(dead_code)] SecretVec),
        }

        fn load_and_write(own: &mut [u8; 32]) {
            own.copy_from_slice(&KEY);
            load(&KEY);
        }
    }
}
