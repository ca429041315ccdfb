//! Numbers of 8 bits, as checkpoints are stored in to halve them: E4M3 without infinities
//! (`torch.float8_e4m3fn`) and E5M2 (`torch.float8_e5m2`).
//!
//! Formats: arXiv 2209.05433, table 1. Each of their numbers is an f16 too, so nothing is rounded.

use half::f16;

/// Every number of a format, by its byte.
type Table = [f16; 256];

fn e4m3() -> Table {
    std::array::from_fn(|byte| {
        let (exponent, fraction) = ((byte >> 3) & 0xF, byte & 7);
        let size = match (exponent, fraction) {
            (0xF, 7) => f32::NAN,
            (0, _) => fraction as f32 / 512.0,
            _ => (8 + fraction) as f32 * 2_f32.powi(exponent as i32 - 10),
        };
        f16::from_f32(if byte & 0x80 == 0 { size } else { -size })
    })
}

/// An f16 that lost the lower half of its bits.
fn e5m2() -> Table {
    std::array::from_fn(|byte| f16::from_bits((byte as u16) << 8))
}

pub(super) fn f16_from_e4m3(bytes: &[u8]) -> Vec<f16> {
    looked_up(bytes, &e4m3())
}

pub(super) fn f16_from_e5m2(bytes: &[u8]) -> Vec<f16> {
    looked_up(bytes, &e5m2())
}

pub(super) fn f32_from_e4m3(bytes: &[u8]) -> Vec<f32> {
    looked_up(bytes, &e4m3().map(f16::to_f32))
}

pub(super) fn f32_from_e5m2(bytes: &[u8]) -> Vec<f32> {
    looked_up(bytes, &e5m2().map(f16::to_f32))
}

fn looked_up<T: Copy>(bytes: &[u8], table: &[T; 256]) -> Vec<T> {
    bytes.iter().map(|byte| table[usize::from(*byte)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_number_is_the_one_of_the_paper() {
        // Table 1: largest, smallest normal, largest and smallest subnormal, zero, one.
        let e4m3 = f32_from_e4m3(&[0x7E, 0x08, 0x07, 0x01, 0x00, 0x38, 0xB8]);
        let expected = [448.0, 1.0 / 64.0, 7.0 / 512.0, 1.0 / 512.0, 0.0, 1.0, -1.0];
        assert_eq!(e4m3, expected, "E4M3");
        let e5m2 = f32_from_e5m2(&[0x7B, 0x04, 0x03, 0x01, 0x00, 0x3C, 0xBC]);
        let step = 2_f32.powi(-16);
        let expected = [57344.0, 4.0 * step, 3.0 * step, step, 0.0, 1.0, -1.0];
        assert_eq!(e5m2, expected, "E5M2");
    }

    #[test]
    fn what_is_no_number_stays_none() {
        for byte in [0x7F, 0xFF] {
            assert!(f32_from_e4m3(&[byte])[0].is_nan(), "{byte:x} of E4M3");
            assert!(f32_from_e5m2(&[byte])[0].is_nan(), "{byte:x} of E5M2");
        }
        assert_eq!(f32_from_e5m2(&[0x7C]), [f32::INFINITY], "of E5M2");
        let infinite = f32_from_e4m3(&(0..=255).collect::<Vec<u8>>());
        assert!(!infinite.iter().any(|it| it.is_infinite()), "E4M3 has none");
    }

    #[test]
    fn an_f16_holds_each_of_them() {
        let bytes: Vec<u8> = (0..=255).collect();
        for (wide, half) in [
            (f32_from_e4m3(&bytes), f16_from_e4m3(&bytes)),
            (f32_from_e5m2(&bytes), f16_from_e5m2(&bytes)),
        ] {
            let same = |(wide, half): (&f32, &f16)| wide.to_bits() == half.to_f32().to_bits();
            assert!(wide.iter().zip(&half).all(same), "nothing is rounded");
        }
    }
}
