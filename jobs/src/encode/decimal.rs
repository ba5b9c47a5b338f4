//! Decimals as integers, as floats and as Python's text.

use std::cell::RefCell;
use std::fmt::{Display, Write};

use arrow::array::{Array, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, DecimalType};
use feast::ValueType;

use super::reader::{Append, Read, number_text};

/// Runs a generic function for the decimal type of an array; `None` for any other type.
macro_rules! for_decimals {
    ($array:expr, $function:ident ( $($more:expr),* )) => {
        match $array.data_type() {
            DataType::Decimal128(_, scale) => {
                Some($function::<Decimal128Type>($array.as_primitive(), *scale $(, $more)*))
            }
            DataType::Decimal256(_, scale) => {
                Some($function::<Decimal256Type>($array.as_primitive(), *scale $(, $more)*))
            }
            _ => None,
        }
    };
}

/// Reads decimals as integers, cutting off what follows the point.
pub(super) fn truncated(array: &dyn Array, kind: ValueType) -> Option<Read<'_, i64>> {
    for_decimals!(array, read_truncated(kind))
}

/// Reads decimals as the nearest floats.
pub(super) fn number(array: &dyn Array) -> Option<Read<'_, f64>> {
    for_decimals!(array, read_number())
}

/// Appends decimals as Python prints them, keeping the scale.
pub(super) fn text(array: &dyn Array) -> Option<Append<'_>> {
    for_decimals!(array, append_text())
}

fn read_truncated<T>(array: &PrimitiveArray<T>, scale: i8, kind: ValueType) -> Read<'_, i64>
where
    T: DecimalType,
    T::Native: Display,
{
    let digits = RefCell::new(String::new());
    Box::new(move |row| {
        let mut digits = digits.borrow_mut();
        unscaled(array, row, &mut digits);
        if let Ok(decimals) = usize::try_from(scale) {
            let whole = digits.len().saturating_sub(decimals);
            digits.truncate(whole);
            if matches!(digits.as_str(), "" | "-") {
                return Ok(0);
            }
        } else {
            digits.extend(std::iter::repeat_n('0', usize::from(scale.unsigned_abs())));
        }
        number_text(&digits, kind)
    })
}

fn read_number<T>(array: &PrimitiveArray<T>, scale: i8) -> Read<'_, f64>
where
    T: DecimalType,
    T::Native: Display,
{
    let digits = RefCell::new(String::new());
    Box::new(move |row| {
        let mut digits = digits.borrow_mut();
        unscaled(array, row, &mut digits);
        write!(digits, "e{}", -i32::from(scale)).expect("a `String` takes every text");
        Ok(digits.parse().expect("digits and an exponent are a number"))
    })
}

fn append_text<T>(array: &PrimitiveArray<T>, scale: i8) -> Append<'_>
where
    T: DecimalType,
    T::Native: Display,
{
    let digits = RefCell::new(String::new());
    Box::new(move |row, out| {
        let mut digits = digits.borrow_mut();
        unscaled(array, row, &mut digits);
        feast::text::write_decimal(out, &digits, scale).expect("a buffer takes every text");
        Ok(())
    })
}

fn unscaled<T>(array: &PrimitiveArray<T>, row: usize, digits: &mut String)
where
    T: DecimalType,
    T::Native: Display,
{
    digits.clear();
    write!(digits, "{}", array.value(row)).expect("a `String` takes every text");
}
