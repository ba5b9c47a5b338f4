//! Feast's value types and their codes in the registry.

/// A Feast value type; the discriminant is its code in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
#[expect(missing_docs, reason = "the variants are Feast's names")]
pub enum ValueType {
    Invalid = 0,
    Bytes = 1,
    String = 2,
    Int32 = 3,
    Int64 = 4,
    Double = 5,
    Float = 6,
    Bool = 7,
    UnixTimestamp = 8,
    BytesList = 11,
    StringList = 12,
    Int32List = 13,
    Int64List = 14,
    DoubleList = 15,
    FloatList = 16,
    BoolList = 17,
    UnixTimestampList = 18,
    Null = 19,
    Map = 20,
    MapList = 21,
    BytesSet = 22,
    StringSet = 23,
    Int32Set = 24,
    Int64Set = 25,
    DoubleSet = 26,
    FloatSet = 27,
    BoolSet = 28,
    UnixTimestampSet = 29,
    PdfBytes = 30,
    ImageBytes = 31,
    Json = 32,
    JsonList = 33,
    Struct = 34,
    StructList = 35,
    Uuid = 36,
    TimeUuid = 37,
    UuidList = 38,
    TimeUuidList = 39,
    UuidSet = 40,
    TimeUuidSet = 41,
    ValueList = 42,
    ValueSet = 43,
    Decimal = 44,
    DecimalList = 45,
    DecimalSet = 46,
    ScalarMap = 47,
    ZonedTimestamp = 48,
}

impl ValueType {
    /// Every type, in the order of the codes.
    pub const ALL: [Self; 47] = [
        Self::Invalid,
        Self::Bytes,
        Self::String,
        Self::Int32,
        Self::Int64,
        Self::Double,
        Self::Float,
        Self::Bool,
        Self::UnixTimestamp,
        Self::BytesList,
        Self::StringList,
        Self::Int32List,
        Self::Int64List,
        Self::DoubleList,
        Self::FloatList,
        Self::BoolList,
        Self::UnixTimestampList,
        Self::Null,
        Self::Map,
        Self::MapList,
        Self::BytesSet,
        Self::StringSet,
        Self::Int32Set,
        Self::Int64Set,
        Self::DoubleSet,
        Self::FloatSet,
        Self::BoolSet,
        Self::UnixTimestampSet,
        Self::PdfBytes,
        Self::ImageBytes,
        Self::Json,
        Self::JsonList,
        Self::Struct,
        Self::StructList,
        Self::Uuid,
        Self::TimeUuid,
        Self::UuidList,
        Self::TimeUuidList,
        Self::UuidSet,
        Self::TimeUuidSet,
        Self::ValueList,
        Self::ValueSet,
        Self::Decimal,
        Self::DecimalList,
        Self::DecimalSet,
        Self::ScalarMap,
        Self::ZonedTimestamp,
    ];

    /// The type of a code; `None` for a code that Feast 0.67 does not have.
    #[inline]
    pub fn from_code(code: i32) -> Option<Self> {
        // Looked up and not searched: every value that is read asks. Codes 9 and 10 are missing.
        static ALL: [ValueType; 47] = ValueType::ALL;
        let place = if code > Self::UnixTimestamp.code() { code.checked_sub(2)? } else { code };
        let kind = ALL.get(usize::try_from(place).ok()?)?;
        (kind.code() == code).then_some(*kind)
    }

    /// The code in the registry.
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// The element type of a list or set type.
    pub const fn element(self) -> Option<Self> {
        Some(match self {
            Self::BytesList | Self::BytesSet => Self::Bytes,
            Self::StringList | Self::StringSet => Self::String,
            Self::Int32List | Self::Int32Set => Self::Int32,
            Self::Int64List | Self::Int64Set => Self::Int64,
            Self::DoubleList | Self::DoubleSet => Self::Double,
            Self::FloatList | Self::FloatSet => Self::Float,
            Self::BoolList | Self::BoolSet => Self::Bool,
            Self::UnixTimestampList | Self::UnixTimestampSet => Self::UnixTimestamp,
            Self::JsonList => Self::Json,
            Self::UuidList | Self::UuidSet => Self::Uuid,
            Self::TimeUuidList | Self::TimeUuidSet => Self::TimeUuid,
            Self::DecimalList | Self::DecimalSet => Self::Decimal,
            _ => return None,
        })
    }

    /// Tells whether duplicates are removed.
    pub const fn is_set(self) -> bool {
        matches!(
            self,
            Self::BytesSet
                | Self::StringSet
                | Self::Int32Set
                | Self::Int64Set
                | Self::DoubleSet
                | Self::FloatSet
                | Self::BoolSet
                | Self::UnixTimestampSet
                | Self::UuidSet
                | Self::TimeUuidSet
                | Self::DecimalSet
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back() {
        for kind in ValueType::ALL {
            assert_eq!(ValueType::from_code(kind.code()), Some(kind));
        }
        for code in [i32::MIN, -1, 9, 10, 49, i32::MAX] {
            assert_eq!(ValueType::from_code(code), None);
        }
    }
}
