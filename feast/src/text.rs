//! Texts as Python and numpy print them, and numbers as Python reads them.
//!
//! Feast turns values into STRING features, JSON and SQLite's `value_text` with Python's `str()`
//! and `json.dumps`; readers compare those texts. Deliberately absent: where the values come from.

use std::fmt::{LowerExp, Write};
use std::str::FromStr;

use crate::value::{Value, json::Json};

/// Appends what `str()` gives for a Python float or numpy float64.
///
/// # Errors
/// What the writer returns; a `String` and a `BytesMut` never fail.
pub fn write_float(out: &mut impl Write, value: f64) -> std::fmt::Result {
    // Python writes an exponent from 16 digits before the point.
    Digits::shortest(value)?.write(out, value, 1e16)
}

/// Appends what `str()` gives for a numpy float32.
///
/// # Errors
/// What the writer returns; a `String` and a `BytesMut` never fail.
///
/// # Source
/// numpy 2.4, which writes an exponent from 1e6 on, where it no longer promises every digit.
pub fn write_f32(out: &mut impl Write, value: f32) -> std::fmt::Result {
    Digits::shortest(value)?.write(out, f64::from(value), 1e6)
}

/// Appends what `str()` gives for a numpy float16, which is given by its bits.
///
/// # Errors
/// What the writer returns; a `String` and a `BytesMut` never fail.
///
/// # Source
/// numpy 2.4, which writes an exponent from 1e3 on.
pub fn write_f16(out: &mut impl Write, bits: u16) -> std::fmt::Result {
    let value = f16_value(bits);
    let mut digits = Digits::default();
    // Five digits tell every float16 from its neighbours.
    for places in 0..5 {
        digits = Digits::default();
        write!(digits, "{value:.places$e}")?;
        if !value.is_finite() || digits.names_f16(bits) {
            break;
        }
    }
    digits.write(out, value, 1e3)
}

fn f16_value(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let fraction = f64::from(bits & 0x3ff);
    match i32::from(bits >> 10 & 0x1f) {
        0 => sign * fraction * 2_f64.powi(-24),
        31 if bits & 0x3ff == 0 => sign * f64::INFINITY,
        31 => f64::NAN,
        exponent => sign * (1024.0 + fraction) * 2_f64.powi(exponent - 25),
    }
}

/// Longest `{:e}` of a float64: sign, 17 digits, point, `e-324`.
const DIGITS_LEN_MAX: usize = 32;

/// A float's shortest digits as Rust prints them, `-1.25e-7`.
#[derive(Default)]
struct Digits {
    text: [u8; DIGITS_LEN_MAX],
    len: usize,
}

impl Write for Digits {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        self.text.get_mut(self.len..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

impl Digits {
    /// The fewest digits that read back as the same float and, of those, the nearest ones.
    ///
    /// Where two of the fewest digits are equally near, Rust's `{:e}` takes either; Python takes
    /// the even one, which is what a fixed number of digits gives in Rust.
    fn shortest<F>(value: F) -> Result<Self, std::fmt::Error>
    where
        F: LowerExp + FromStr + PartialEq + Copy,
    {
        let mut shortest = Self::default();
        write!(shortest, "{value:e}")?;
        let mantissa = shortest.text().split('e').next().unwrap_or_default();
        let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
        let mut nearest = Self::default();
        write!(nearest, "{value:.*e}", digits.saturating_sub(1))?;
        let is_same = nearest.text().parse().is_ok_and(|read: F| read == value);
        Ok(if is_same { nearest } else { shortest })
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.text[..self.len]).expect("only whole texts were written")
    }

    /// Tells whether these digits are nearer to the float16 than to its neighbours.
    fn names_f16(&self, bits: u16) -> bool {
        let number: f64 = self.text().parse().expect("Rust reads the float it wrote");
        let (number, bits) = (number.abs(), bits & 0x7fff);
        let value = f16_value(bits);
        let below = if bits == 0 { 0.0 } else { (value - f16_value(bits - 1)) / 2.0 };
        // The largest float16 has no finite neighbour above; its ulp is 32.
        let above = if bits == 0x7bff { 16.0 } else { (f16_value(bits + 1) - value) / 2.0 };
        let is_even = bits & 1 == 0;
        let is_inside = number > value - below && number < value + above;
        is_inside || (is_even && (number == value - below || number == value + above))
    }

    /// Writes the digits as Python lays them out: an exponent below 1e-4 and from `large` on.
    fn write(&self, out: &mut impl Write, value: f64, large: f64) -> std::fmt::Result {
        if value.is_nan() {
            return out.write_str("nan");
        }
        if value.is_infinite() {
            return out.write_str(if value > 0.0 { "inf" } else { "-inf" });
        }
        let (mantissa, exponent) = self.text().split_once('e').expect("`{:e}` has an exponent");
        let exponent: i32 = exponent.parse().expect("`{:e}` has a decimal exponent");
        let (sign, mantissa) = match mantissa.strip_prefix('-') {
            Some(mantissa) => ("-", mantissa),
            None => ("", mantissa),
        };
        out.write_str(sign)?;
        let size = value.abs();
        if size != 0.0 && (size < 1e-4 || size >= large) {
            let sign = if exponent < 0 { '-' } else { '+' };
            return write!(out, "{mantissa}e{sign}{:02}", exponent.abs());
        }
        write_positional(out, mantissa, exponent)
    }
}

/// Writes `1.25` and 3 as `1250.0`, `1.25` and -2 as `0.0125`.
fn write_positional(out: &mut impl Write, mantissa: &str, exponent: i32) -> std::fmt::Result {
    let (first, rest) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if exponent < 0 {
        out.write_str("0.")?;
        for _ in 1..-exponent {
            out.write_char('0')?;
        }
        out.write_str(first)?;
        return out.write_str(rest);
    }
    let whole = exponent as usize;
    out.write_str(first)?;
    if rest.len() > whole {
        out.write_str(&rest[..whole])?;
        out.write_char('.')?;
        return out.write_str(&rest[whole..]);
    }
    out.write_str(rest)?;
    for _ in rest.len()..whole {
        out.write_char('0')?;
    }
    out.write_str(".0")
}

/// `str()` of a Python bool.
pub const fn bool_text(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// Appends what `str()` gives for Python bytes: `b'…'`, in double quotes where that saves escapes.
///
/// # Errors
/// What the writer returns; a `String` and a `BytesMut` never fail.
pub fn write_bytes_repr(out: &mut impl Write, bytes: &[u8]) -> std::fmt::Result {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    out.write_char('b')?;
    out.write_char(quote)?;
    for &byte in bytes {
        match byte {
            b'\\' => out.write_str("\\\\")?,
            b'\t' => out.write_str("\\t")?,
            b'\n' => out.write_str("\\n")?,
            b'\r' => out.write_str("\\r")?,
            b'\'' if quote == '\'' => out.write_str("\\'")?,
            0x20..=0x7e => out.write_char(char::from(byte))?,
            _ => write!(out, "\\x{byte:02x}")?,
        }
    }
    out.write_char(quote)
}

const SECONDS_PER_DAY: i64 = 86_400;

/// Appends `YYYY-MM-DD` of a number of days since the epoch.
///
/// # Errors
/// What the writer returns; a `String` and a `BytesMut` never fail.
pub fn write_date(out: &mut impl Write, days: i64) -> std::fmt::Result {
    let (year, month, day) = civil_from_days(days);
    write!(out, "{year:04}-{month:02}-{day:02}")
}

/// Appends `YYYY-MM-DDTHH:MM:SS` in UTC, and `decimals` digits of the second.
///
/// # Units
/// Seconds since the epoch, and the nanoseconds above them.
///
/// # Errors
/// What the writer returns; a `String` and a `BytesMut` never fail.
///
/// # Source
/// `str()` of a numpy `datetime64`.
pub fn write_timestamp(
    out: &mut impl Write,
    seconds: i64,
    nanos: u32,
    decimals: usize,
) -> std::fmt::Result {
    write_date(out, seconds.div_euclid(SECONDS_PER_DAY))?;
    out.write_char('T')?;
    write_clock(out, seconds.rem_euclid(SECONDS_PER_DAY))?;
    if decimals == 0 {
        return Ok(());
    }
    let fraction = nanos / 10_u32.pow(9_u32.saturating_sub(decimals as u32));
    write!(out, ".{fraction:0decimals$}")
}

/// Appends `HH:MM:SS`, and six decimals where there are microseconds.
///
/// # Units
/// Microseconds since midnight.
///
/// # Errors
/// What the writer returns; a `String` and a `BytesMut` never fail.
///
/// # Source
/// `str()` of a Python `datetime.time`.
pub fn write_time(out: &mut impl Write, micros: i64) -> std::fmt::Result {
    write_clock(out, micros.div_euclid(1_000_000))?;
    match micros.rem_euclid(1_000_000) {
        0 => Ok(()),
        fraction => write!(out, ".{fraction:06}"),
    }
}

fn write_clock(out: &mut impl Write, seconds: i64) -> std::fmt::Result {
    write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Year, month and day of a number of days since the epoch, in the proleptic Gregorian calendar.
///
/// Counts years from March, so that the leap day is the last of its year and months have a rule.
pub(crate) fn civil_from_days(days: i64) -> (i64, i64, i64) {
    const DAYS_TO_EPOCH: i64 = 719_468;
    const DAYS_PER_ERA: i64 = 146_097;
    let days = days + DAYS_TO_EPOCH;
    let (era, of_era) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// Appends what `str()` gives for a `Decimal` of these digits and scale: `1.50`, `1E-10`.
///
/// # Errors
/// What the writer returns; a `String` and a `BytesMut` never fail.
///
/// # Source
/// Python's `decimal.Decimal.__str__`: an exponent where the scale is negative, or where more
/// than five zeros would follow the point.
pub fn write_decimal(out: &mut impl Write, unscaled: &str, scale: i8) -> std::fmt::Result {
    let digits = match unscaled.strip_prefix('-') {
        Some(digits) => {
            out.write_char('-')?;
            digits
        }
        None => unscaled,
    };
    let scale = i32::from(scale);
    let whole = digits.len() as i32 - scale;
    if scale >= 0 && whole > -6 {
        if scale == 0 {
            return out.write_str(digits);
        }
        if whole > 0 {
            let (whole, fraction) = digits.split_at(whole as usize);
            return write!(out, "{whole}.{fraction}");
        }
        out.write_str("0.")?;
        for _ in 0..-whole {
            out.write_char('0')?;
        }
        return out.write_str(digits);
    }
    let (first, rest) = digits.split_at(1);
    out.write_str(first)?;
    if !rest.is_empty() {
        write!(out, ".{rest}")?;
    }
    write!(out, "E{:+}", whole - 1)
}

/// Appends a text as `json.dumps` quotes it, with everything outside ASCII escaped.
///
/// # Errors
/// What the writer returns; a `String` and a `BytesMut` never fail.
pub fn write_json_string(out: &mut impl Write, text: &str) -> std::fmt::Result {
    out.write_char('"')?;
    for char in text.chars() {
        match char {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            '\u{8}' => out.write_str("\\b")?,
            '\u{c}' => out.write_str("\\f")?,
            ' '..='~' => out.write_char(char)?,
            _ => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
        }
    }
    out.write_char('"')
}

/// Appends a float as `json.dumps` writes it: `NaN`, `Infinity`, `-Infinity`, else `repr`.
///
/// # Errors
/// What the writer returns; a `String` and a `BytesMut` never fail.
pub fn write_json_float(out: &mut impl Write, value: f64) -> std::fmt::Result {
    if value.is_nan() {
        return out.write_str("NaN");
    }
    if value.is_infinite() {
        return out.write_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    write_float(out, value)
}

/// Appends what `json.dumps` gives with its defaults: separators `, ` and `: `, ASCII only.
///
/// # Errors
/// What the writer returns; a `String` and a `BytesMut` never fail.
pub fn write_json(out: &mut impl Write, json: &Json) -> std::fmt::Result {
    match json {
        Json::Null => out.write_str("null"),
        Json::Bool(value) => out.write_str(if *value { "true" } else { "false" }),
        Json::Int(value) => write!(out, "{value}"),
        Json::BigInt(digits) => out.write_str(digits),
        Json::Float(value) => write_json_float(out, *value),
        Json::String(text) => write_json_string(out, text),
        Json::Array(items) => {
            out.write_char('[')?;
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.write_str(", ")?;
                }
                write_json(out, item)?;
            }
            out.write_char(']')
        }
        Json::Object(entries) => {
            out.write_char('{')?;
            for (place, (key, item)) in entries.iter().enumerate() {
                if place > 0 {
                    out.write_str(", ")?;
                }
                write_json_string(out, key)?;
                out.write_str(": ")?;
                write_json(out, item)?;
            }
            out.write_char('}')
        }
    }
}

/// What `json.dumps` gives with its defaults.
pub fn json_dumps(json: &Json) -> String {
    let mut out = String::new();
    write_json(&mut out, json).expect("a `String` takes every text");
    out
}

/// SQLite's `value_text` of a serialized value: `None` for null and for the types without one.
///
/// # Source
/// Contract section 4.3: `str()` of string, int32, int64, float (as its double), double and bool.
pub fn value_text(value: &[u8]) -> Option<String> {
    let mut out = String::new();
    match Value::decode(value).ok()? {
        Value::String(text) => return Some(text),
        Value::Int32(number) => return Some(number.to_string()),
        Value::Int64(number) => return Some(number.to_string()),
        Value::Bool(value) => return Some(bool_text(value).to_owned()),
        Value::Float(number) => write_float(&mut out, f64::from(number)),
        Value::Double(number) => write_float(&mut out, number),
        _ => return None,
    }
    .expect("a `String` takes every text");
    Some(out)
}

/// What a text says when read as an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberText {
    /// An integer of 64 bits.
    Number(i64),
    /// An integer that needs more than 64 bits.
    OutOfRange,
    /// No integer.
    NotANumber,
}

/// Reads a text as Python's `int()` does: blanks around, a sign, single underscores between digits.
///
/// Digits outside ASCII, which Python also takes, are no number here.
pub fn parse_int(text: &str) -> NumberText {
    let text = text.trim();
    let (is_negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let mut number = 0_i64;
    let mut is_outside = false;
    let mut after_digit = false;
    for byte in digits.bytes() {
        match byte {
            b'0'..=b'9' => {
                let digit = i64::from(byte - b'0');
                let next = number.checked_mul(10).and_then(|number| {
                    if is_negative { number.checked_sub(digit) } else { number.checked_add(digit) }
                });
                is_outside |= next.is_none();
                number = next.unwrap_or(0);
                after_digit = true;
            }
            b'_' if after_digit => after_digit = false,
            _ => return NumberText::NotANumber,
        }
    }
    match (after_digit, is_outside) {
        (false, _) => NumberText::NotANumber,
        (true, true) => NumberText::OutOfRange,
        (true, false) => NumberText::Number(number),
    }
}

/// Reads a text as Python's `float()` does; `None` when it is no number.
pub fn parse_float(text: &str) -> Option<f64> {
    let text = text.trim();
    if !text.contains('_') {
        return text.parse().ok();
    }
    let bytes = text.as_bytes();
    for (place, _) in text.match_indices('_') {
        let before = place.checked_sub(1).and_then(|before| bytes.get(before));
        let is_between = before.is_some_and(u8::is_ascii_digit)
            && bytes.get(place + 1).is_some_and(u8::is_ascii_digit);
        if !is_between {
            return None;
        }
    }
    text.replace('_', "").parse().ok()
}

#[cfg(test)]
mod tests;
