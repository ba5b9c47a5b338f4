//! Pairs of an Arrow type and a Feast type: what Feast stored for each, from `jobs/testdata`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use feast::config::OnBadRow;
use feast::{Field, JoinKey, ValueType};
use jobs::encode::{EncodeSpec, Encoder};
use serde_json::Value as Json;

use super::{hex, read_parquet, unhex, unordered};

/// Columns that Feast writes and we refuse: each would store something other than it says.
const REFUSED: [(&str, &str); 20] = [
    // Feast stores null for every row.
    ("s_list", "no text of lists"),
    ("s_listf", "no text of lists"),
    ("s_lists", "no text of lists"),
    ("s_struct", "no text of lists"),
    // Digits outside ASCII, bytes as text, and nanoseconds as a plain number.
    ("i64_s", "is not an integer"),
    ("i64_bin", "numeric text"),
    ("i64_ts_ns", "numeric text"),
    // Feast stores the null marker for float64, and cuts off float32.
    ("t_f", "store seconds as an integer"),
    ("t_f32", "store seconds as an integer"),
    // Feast prints the number; JSON of a column is text or a struct.
    ("js_f", "JSON text and structs"),
    ("lj_f", "JSON text and structs"),
    // Integers that a null elsewhere in the column has turned into floats.
    ("m_st_lin", "null in a list"),
    ("n_in", "null in a list"),
    ("lf_in", "float elements only"),
    ("ld_in", "float elements only"),
    // Feast stores 0 for null.
    ("l64_nulltype", "null in a list"),
    // Feast stores the letters of the text, or the numbers of its bytes.
    ("lx_strs", "JSON array"),
    ("n_str", "lists of lists"),
    ("lx_binj", "write the column as a list"),
    ("lx_binjs", "write the column as a list"),
];

/// Columns for which we write other bytes than Feast, or any where Feast fails.
const VALUES: [(&str, &[&str]); 31] = [
    // Integers of any width are exact as DOUBLE; Feast takes some only where a null is about.
    ("d_u64", &["29000000000000f03f"]),
    ("d_u32", &["29000000000000f03f"]),
    ("d_i8", &["29000000000000f03f"]),
    // Feast sees whole columns: one of dates that are all null stores nothing.
    ("t_d32alln", &["4080808080808080808001", "4080808080808080808001"]),
    // Integers in structs stay integers.
    (
        "js_stn",
        &[
            "8202137b2261223a20312c202265223a206e756c6c7d",
            "",
            "8202167b2261223a206e756c6c2c202265223a206e756c6c7d",
        ],
    ),
    ("sl_st", &["9a02140a090a070a0161120220010a070a050a01611200", "9a0200", ""]),
    ("lj_st", &["8a02100a087b2261223a20317d0a046e756c6c"]),
    (
        "m_nest",
        &[
            "a2011d0a1b0a01611216a201130a110a0162120ca201090a070a016312022001",
            "a201070a050a01611200",
            "a201110a0f0a0161120aa201070a050a01621200",
        ],
    ),
    // Lists in structs, which `json.dumps` and Feast's inference stumble over as numpy arrays.
    ("js_st", &[JS_ST]),
    ("js_st_li", &["8202107b2261223a205b312c206e756c6c5d7d"]),
    ("m_st_lst", &["a201150a130a0161120eaa010b0a090a070a016212022001"]),
    ("m_lxy", &["a2010f0a0d0a0161120862060a01780a0179"]),
    // Elements that Feast has a type for and cannot convert.
    ("lby_fsb", &["5a040a026162"]),
    ("lt_d", &["9201110a0f80a4cdac0680808080808080808001"]),
    ("lt_in", &["92010d0a0b0580808080808080808001"]),
    ("n_i8", &["d202080a066a040a020102"]),
    ("n_i16", &["d202080a066a040a020102"]),
    ("n_u8", &["d202080a066a040a020102"]),
    ("n_u64", &["d202080a0672040a020102"]),
    ("n_f16", &["d2020b0a098201060a040000c03f"]),
    // Seconds, where Feast stores nanoseconds under the name of seconds.
    ("lt_ns", &["9201120a10a5facdac060080808080808080808001"]),
    // The field of the type, where Feast writes the one of INT64_LIST.
    ("lx_bint", &["9201030a0105"]),
    ("lx_bine", &["7200", ""]),
    // Sets hold no value twice: NaN, nulls, and values that are equal once converted.
    ("st_s_b", &["ba01080a01610a01620a00"]),
    ("st_f", &["d2011a0a18000000000000f83f000000000000f87f0000000000000000"]),
    ("st_b", &["e201040a020100"]),
    ("st_t", &["ea01070a05a5facdac06"]),
    ("st_tn", &["ea01110a0fa5facdac0680808080808080808001"]),
    ("st_f32f64", &["da01060a04cdcccc3d"]),
    ("st_x", &["ca01040a020102"]),
    ("st_tu", &["ca02050a01780a00"]),
];

/// `{"a": 1, …, "c": [1, 2], …}` with an empty list, a null and an infinity.
const JS_ST: &str = "\
    82028d017b2261223a20312c202262223a20225c75303065395c75643833645c75646530305c225c5c5c6e5c\
    75303037665c7530303031222c202263223a205b312c20325d2c202264223a206e756c6c2c202265223a2031\
    2e352c202266223a207b2267223a205b5d7d2c202268223a20747275652c202269223a2031652b31362c2022\
    6a223a20496e66696e6974797d";

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// The values of a column's first rows in hexadecimal, or the reason against it.
fn encoded(batch: &RecordBatch, name: &str, value_type: ValueType) -> Result<Vec<String>, String> {
    let feature =
        Field { name: name.to_owned(), value_type, vector_length: 0, vector_index: false };
    let spec = EncodeSpec {
        join_keys: vec![JoinKey { name: "id".to_owned(), value_type: ValueType::Int64 }],
        features: vec![feature],
        event_time: "ts".to_owned(),
        created_time: None,
        active: None,
        entity_key_serialization_version: 3,
        key_suffix: Vec::new(),
        on_bad_row: OnBadRow::Fail,
    };
    let encoder = Encoder::new(spec, batch.schema_ref()).map_err(|error| error.to_string())?;
    let encoded = encoder.encode(batch).map_err(|error| error.to_string())?;
    let column = &encoded.batch.features[0];
    Ok((0..column.len()).map(|row| hex(column.get(row))).collect())
}

fn is_same(ours: &str, theirs: &str) -> bool {
    ours == theirs
        || (ours.len() == theirs.len() && unordered(&unhex(ours)) == unordered(&unhex(theirs)))
}

#[test]
fn every_pair_of_types_is_written_as_feast_writes_it() {
    let batch = read_parquet(&testdata().join("types.parquet"));
    let cases = std::fs::read_to_string(testdata().join("types.json")).unwrap();
    let cases: Vec<Json> = serde_json::from_str(&cases).unwrap();
    let mut used = BTreeSet::new();
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        let value_type = ValueType::from_code(case["type"].as_i64().unwrap() as i32).unwrap();
        let theirs = case["values"].as_array();
        let rows = theirs.map_or_else(|| case["rows"].as_u64().unwrap() as usize, Vec::len);
        let ours = encoded(&batch.slice(0, rows), name, value_type);
        let what = format!("{name}: Feast {case}, ours {ours:?}");
        if let Some((_, values)) = VALUES.iter().find(|(other, _)| *other == name) {
            assert_eq!(ours.as_ref().unwrap(), values, "{what}");
            used.insert(name);
        } else if let Some((_, reason)) = REFUSED.iter().find(|(other, _)| *other == name) {
            assert!(ours.unwrap_err().contains(reason), "{what}");
            used.insert(name);
        } else if let Some(theirs) = theirs {
            let ours = ours.as_ref().unwrap_or_else(|_| panic!("{what}"));
            assert_eq!(ours.len(), theirs.len(), "{what}");
            let mut pairs = ours.iter().zip(theirs);
            assert!(pairs.all(|(ours, theirs)| is_same(ours, theirs.as_str().unwrap())), "{what}");
        } else {
            assert!(ours.is_err(), "{what}");
        }
    }
    assert_eq!(used.len(), VALUES.len() + REFUSED.len(), "a difference is no case any more");
}
