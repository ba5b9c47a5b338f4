//! Texts that Python 3.11 and numpy 2.4 printed for the same values.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;

fn written(write: impl FnOnce(&mut String) -> std::fmt::Result) -> String {
    let mut out = String::new();
    write(&mut out).unwrap();
    out
}

#[test]
fn float_is_printed_as_python_does() {
    for (value, text) in [
        (0.1, "0.1"),
        (1e16, "1e+16"),
        (1e-5, "1e-05"),
        (1e15, "1000000000000000.0"),
        (1e22, "1e+22"),
        (-0.0, "-0.0"),
        (0.0, "0.0"),
        (1.5, "1.5"),
        (0.0001, "0.0001"),
        (0.000_12, "0.00012"),
        (123.0, "123.0"),
        (5e-324, "5e-324"),
        (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
        (-2.225_073_858_507_201_4e-308, "-2.2250738585072014e-308"),
        (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
        (9_007_199_254_740_992.0, "9007199254740992.0"),
        // Two texts of 17 digits are equally near; Python takes the even one.
        (f64::from(138.063_14_f32), "138.06314086914062"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::NAN, "nan"),
    ] {
        assert_eq!(written(|out| write_float(out, value)), text);
    }
}

#[test]
fn float32_is_printed_as_numpy_does() {
    for (value, text) in [
        (0.1_f32, "0.1"),
        (1e16, "1e+16"),
        (3.402_823_5e38, "3.4028235e+38"),
        (123_456.79, "123456.79"),
        (999_999.9, "999999.9"),
        (1e6, "1e+06"),
        (9_999_999.0, "9.999999e+06"),
        (33_554_432.0, "3.3554432e+07"),
        (1e-4, "1e-04"),
        (0.000_12, "0.00012"),
        (1.17e-38, "1.17e-38"),
        (-0.0, "-0.0"),
    ] {
        assert_eq!(written(|out| write_f32(out, value)), text);
    }
}

#[test]
fn float16_is_printed_as_numpy_does() {
    for (bits, text) in [
        (0x2e66_u16, "0.1"),
        (0x3e00, "1.5"),
        (0x7bff, "6.55e+04"),
        (0x03ef, "6e-05"),
        (0x63d0, "1e+03"),
        (0x63ce, "999.0"),
        (0x64d2, "1.234e+03"),
        (0x70e2, "1e+04"),
        (0x068e, "0.0001"),
        (0x57b3, "123.2"),
        (0x7c00, "inf"),
        (0x8000, "-0.0"),
        (0x0001, "6e-08"),
    ] {
        assert_eq!(written(|out| write_f16(out, bits)), text, "{bits:04x}");
    }
}

#[test]
fn bytes_are_printed_as_python_does() {
    for (bytes, text) in [
        (&b"a"[..], "b'a'"),
        (b"'", "b\"'\""),
        (b"'\"", "b'\\'\"'"),
        (b"\\\n\t\r\x00\xff\x7f~", "b'\\\\\\n\\t\\r\\x00\\xff\\x7f~'"),
        (b"", "b''"),
    ] {
        assert_eq!(written(|out| write_bytes_repr(out, bytes)), text);
    }
}

#[test]
fn times_are_printed_as_numpy_does() {
    let stamp =
        |seconds, nanos, decimals| written(|out| write_timestamp(out, seconds, nanos, decimals));
    assert_eq!(stamp(1_704_164_645, 123_456_000, 6), "2024-01-02T03:04:05.123456");
    assert_eq!(stamp(1_704_164_645, 123_456_000, 9), "2024-01-02T03:04:05.123456000");
    assert_eq!(stamp(1_704_164_645, 0, 3), "2024-01-02T03:04:05.000");
    assert_eq!(stamp(1_704_164_645, 0, 0), "2024-01-02T03:04:05");
    assert_eq!(stamp(-1, 500_000_000, 3), "1969-12-31T23:59:59.500");
    assert_eq!(stamp(-62_135_596_799, 0, 6), "0001-01-01T00:00:01.000000");
    assert_eq!(stamp(951_782_400, 0, 0), "2000-02-29T00:00:00");
    assert_eq!(written(|out| write_date(out, 19_724)), "2024-01-02");
    assert_eq!(written(|out| write_time(out, 3_723_000_004)), "01:02:03.000004");
    assert_eq!(written(|out| write_time(out, 3_723_000_000)), "01:02:03");
}

#[test]
fn decimals_are_printed_as_python_does() {
    for (unscaled, scale, text) in [
        ("150", 2, "1.50"),
        ("0", 2, "0.00"),
        ("-310", 2, "-3.10"),
        ("0", 10, "0E-10"),
        ("1", 10, "1E-10"),
        ("12", 10, "1.2E-9"),
        ("120000000000", 10, "12.0000000000"),
        ("12", -3, "1.2E+4"),
        ("5", 0, "5"),
        ("1", 6, "0.000001"),
        ("1", 7, "1E-7"),
        ("0", 6, "0.000000"),
    ] {
        assert_eq!(written(|out| write_decimal(out, unscaled, scale)), text);
    }
}

#[test]
fn json_is_printed_as_python_does() {
    let json = Json::Object(vec![
        ("a".to_owned(), Json::Float(f64::INFINITY)),
        ("b".to_owned(), Json::Object(vec![("c".to_owned(), Json::Int(1))])),
        ("é😀\"\\\n\u{7f}\u{1}/".to_owned(), Json::Array(vec![Json::Null, Json::Bool(true)])),
        ("f".to_owned(), Json::Float(1e16)),
        ("n".to_owned(), Json::Float(f64::NAN)),
    ]);
    assert_eq!(
        json_dumps(&json),
        "{\"a\": Infinity, \"b\": {\"c\": 1}, \
         \"\\u00e9\\ud83d\\ude00\\\"\\\\\\n\\u007f\\u0001/\": [null, true], \"f\": 1e+16, \
         \"n\": NaN}"
    );
}

#[test]
fn value_text_is_what_feast_puts_beside_the_value() {
    for (value, text) in [
        (&b"\x12\x02hi"[..], Some("hi")),
        (b"\x12\x00", Some("")),
        (b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Some("-1")),
        (b"\x20\x05", Some("5")),
        (b"\x35\xcd\xcc\xcc\x3d", Some("0.10000000149011612")),
        (b"\x29\x9a\x99\x99\x99\x99\x99\xb9\x3f", Some("0.1")),
        (b"\x38\x01", Some("True")),
        (b"\x38\x00", Some("False")),
        (b"\x40\x05", None),
        (b"\x0a\x01a", None),
        (b"", None),
    ] {
        assert_eq!(value_text(value).as_deref(), text);
    }
}

#[test]
fn texts_are_read_as_python_reads_them() {
    for (text, number) in [
        ("12", NumberText::Number(12)),
        (" \u{a0}12\t\n", NumberText::Number(12)),
        ("+5", NumberText::Number(5)),
        ("-7", NumberText::Number(-7)),
        ("1_000", NumberText::Number(1000)),
        ("007", NumberText::Number(7)),
        ("-9223372036854775808", NumberText::Number(i64::MIN)),
        ("9223372036854775808", NumberText::OutOfRange),
        ("99999999999999999999", NumberText::OutOfRange),
        ("", NumberText::NotANumber),
        ("-", NumberText::NotANumber),
        ("1.5", NumberText::NotANumber),
        ("1e3", NumberText::NotANumber),
        ("0x10", NumberText::NotANumber),
        ("1__0", NumberText::NotANumber),
        ("_1", NumberText::NotANumber),
        ("1_", NumberText::NotANumber),
        ("- 1", NumberText::NotANumber),
    ] {
        assert_eq!(parse_int(text), number, "{text:?}");
    }
    assert_eq!(parse_float(" 1_0.5 "), Some(10.5));
    assert_eq!(parse_float("-Infinity"), Some(f64::NEG_INFINITY));
    assert_eq!(parse_float("1e5"), Some(1e5));
    assert!(parse_float("NaN").unwrap().is_nan());
    assert_eq!(parse_float("1_.5"), None);
    assert_eq!(parse_float("abc"), None);
}
