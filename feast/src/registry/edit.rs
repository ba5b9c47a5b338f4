//! Recording a materialization interval in registry bytes.
//!
//! Bytes are moved and left out, never decoded and encoded again: what this crate does not know of
//! a newer Feast stays as it is. Which intervals merge is decided in `compact.rs`. Deliberately
//! absent: locks and files (crate `registry`).

use std::collections::BTreeSet;

use prost::Message;

use super::compact::compact;
use super::snapshot::{list, spec_of, view_list};
use super::{Error, message, wire};
use crate::feature_view::ViewKind;

/// Number of `meta` in a view.
const META: u32 = 2;
/// Number of the list of intervals in `meta`.
const INTERVALS: u32 = 3;
/// `AVAILABLE_ONLINE`, the state in which Feast's readers serve a view.
const STATE_AVAILABLE_ONLINE: i32 = 4;

/// One interval that has landed, and when that is recorded.
///
/// # Units
/// Microseconds since the epoch; the interval is closed at both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntervalRecord {
    /// First instant.
    pub start_micros: i64,
    /// Last instant.
    pub end_micros: i64,
    /// Our clock.
    pub now_micros: i64,
}

/// What recording an interval did to a registry file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileEdit {
    /// These are the file's new bytes.
    Changed(Vec<u8>),
    /// The list covers the interval already; nothing is to be written.
    AlreadyThere,
    /// The project has no such view any more.
    ViewGone,
}

/// What every record renews in a view's `meta`.
#[derive(Clone, PartialEq, Message)]
struct Renewed {
    #[prost(message, optional, tag = "2")]
    last_updated_timestamp: Option<message::Timestamp>,
    #[prost(int32, tag = "6")]
    state: i32,
}

/// Records an interval in a view's message; `None` when nothing is to be changed: the list has
/// one interval that covers it, and readers may serve the view.
///
/// Listed intervals that overlap or adjoin it become one with it, in the place of the first of
/// them; otherwise it is appended. So the list grows with the gaps and not with the runs. Feast
/// 0.67 appends always, and reads from the list only the greatest end, which is where
/// `materialize-incremental` goes on. The state becomes `AVAILABLE_ONLINE`, also where a killed
/// Feast left another, and the time of the last update moves; all else stays, `spec.project` and
/// fields unknown to us included.
///
/// # Errors
/// `Error::Decode` when the bytes are no view.
/// # Source
/// Feast 0.67 `apply_materialization` and `FeatureView.most_recent_end_time`; protobuf's rule that
/// the parts of a singular message field that occurs twice are merged.
pub fn record_interval(view: &[u8], record: IntervalRecord) -> Result<Option<Vec<u8>>, Error> {
    let not_a_view = |source| Error::Decode { what: "view", name: String::new(), source };
    let decoded = message::AnyView::decode(view).map_err(not_a_view)?;
    let is_served = decoded.meta.is_some_and(|meta| meta.state == STATE_AVAILABLE_ONLINE);
    let fields = wire::fields(view).map_err(not_a_view)?;
    let parts = fields.iter().filter(|field| field.number == META);
    let meta: Vec<u8> = parts.flat_map(|field| field.payload).copied().collect();
    let Some(meta) = edited_meta(&meta, is_served, record).map_err(not_a_view)? else {
        return Ok(None);
    };
    let place = fields.iter().position(|field| field.number == META);
    let mut edited = Vec::with_capacity(view.len() + meta.len());
    for (position, field) in fields.iter().enumerate() {
        if Some(position) == place {
            wire::put_field(META, &meta, &mut edited);
        } else if field.number != META {
            edited.extend_from_slice(field.whole);
        }
    }
    if place.is_none() {
        wire::put_field(META, &meta, &mut edited);
    }
    Ok(Some(edited))
}

/// A view's `meta` with the interval, its fields in the order of their numbers, as protobuf writes
/// them; `None` when it is as it should be.
fn edited_meta(
    meta: &[u8],
    is_served: bool,
    record: IntervalRecord,
) -> Result<Option<Vec<u8>>, prost::DecodeError> {
    let fields = wire::fields(meta)?;
    let lists = fields.iter().enumerate().filter(|(_, field)| field.number == INTERVALS);
    let (places, listed): (Vec<usize>, Vec<(i64, i64)>) =
        lists.filter_map(|(place, field)| Some((place, plain_interval(field.payload)?))).unzip();
    let compacted = compact(&listed, (record.start_micros, record.end_micros));
    if is_served && compacted.is_listed(&listed) {
        return Ok(None);
    }
    let mut union = Vec::new();
    wire::put_field(INTERVALS, &encoded_interval(compacted.union), &mut union);
    let renewed = Renewed {
        last_updated_timestamp: Some(message::Timestamp::from_micros(record.now_micros)),
        state: STATE_AVAILABLE_ONLINE,
    };
    let renewed = renewed.encode_to_vec();
    let renewed = wire::fields(&renewed)?;

    let absorbed: BTreeSet<usize> =
        compacted.absorbed.iter().map(|position| places[*position]).collect();
    let mut after: Vec<(u32, &[u8])> = Vec::with_capacity(fields.len() + 1);
    for (place, field) in fields.iter().enumerate() {
        if absorbed.first() == Some(&place) {
            after.push((INTERVALS, &union));
        } else if !absorbed.contains(&place)
            && renewed.iter().all(|renewed| renewed.number != field.number)
        {
            after.push((field.number, field.whole));
        }
    }
    if absorbed.is_empty() {
        after.push((INTERVALS, &union));
    }
    after.extend(renewed.iter().map(|field| (field.number, field.whole)));
    after.sort_by_key(|(number, _)| *number);
    Ok(Some(after.into_iter().flat_map(|(_, whole)| whole).copied().collect()))
}

/// An interval of the list, if it says no more than its two ends in microseconds. One that says
/// more, in a field of a newer Feast or in nanoseconds, would lose that by merging.
fn plain_interval(payload: &[u8]) -> Option<(i64, i64)> {
    let interval = message::MaterializationInterval::decode(payload).ok()?;
    let ends = interval.ends_micros();
    (encoded_interval(ends) == payload).then_some(ends)
}

fn encoded_interval((start, end): (i64, i64)) -> Vec<u8> {
    let time = |micros| Some(message::Timestamp::from_micros(micros));
    message::MaterializationInterval { start_time: time(start), end_time: time(end) }
        .encode_to_vec()
}

/// Records an interval in a view inside a registry file.
///
/// As in Feast the view becomes the last of its list, and the registry gets `version_id` (a new
/// version 4 UUID as text) and a new time of its last update.
///
/// # Errors
/// `Error::File` when the bytes are no registry, `Error::Decode` when the view's are none,
/// `Error::NoIntervals` for a kind of view that has no intervals.
pub fn record_interval_in_file(
    registry: &[u8],
    project: &str,
    view: &str,
    kind: ViewKind,
    record: IntervalRecord,
    version_id: &str,
) -> Result<FileEdit, Error> {
    check_kind(view, kind)?;
    let fields = wire::fields(registry).map_err(Error::File)?;
    let mut found = None;
    for (position, field) in fields.iter().enumerate() {
        if field.number == view_list(kind) {
            let spec = spec_of("view", field.payload)?;
            if spec.name == view && spec.project == project {
                found = Some(position);
                break;
            }
        }
    }
    let Some(position) = found else { return Ok(FileEdit::ViewGone) };
    let Some(edited) = record_interval(fields[position].payload, record)? else {
        return Ok(FileEdit::AlreadyThere);
    };
    Ok(FileEdit::Changed(reassemble(&fields, position, &edited, record.now_micros, version_id)))
}

/// Refuses kinds of views that have no list of intervals.
///
/// # Errors
/// `Error::NoIntervals`.
pub fn check_kind(view: &str, kind: ViewKind) -> Result<(), Error> {
    match kind {
        ViewKind::Feature | ViewKind::Stream => Ok(()),
        ViewKind::OnDemand | ViewKind::Label => {
            Err(Error::NoIntervals { view: view.to_owned(), kind })
        }
    }
}

/// Puts the fields together again: all as they were, but for the view at `position`, which goes
/// behind the last of its list, and the registry's own version and time.
fn reassemble(
    fields: &[wire::RawField<'_>],
    position: usize,
    edited: &[u8],
    now_micros: i64,
    version_id: &str,
) -> Vec<u8> {
    let number = fields[position].number;
    let last = fields.iter().rposition(|field| field.number == number).unwrap_or(position);
    let mut out = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let is_replaced =
            index == position || [list::VERSION_ID, list::LAST_UPDATED].contains(&field.number);
        if !is_replaced {
            out.extend_from_slice(field.whole);
        }
        if index == last {
            wire::put_field(number, edited, &mut out);
        }
    }
    let now = message::Timestamp::from_micros(now_micros);
    wire::put_field(list::VERSION_ID, version_id.as_bytes(), &mut out);
    wire::put_field(list::LAST_UPDATED, &now.encode_to_vec(), &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::super::Snapshot;
    use super::*;

    const ENTITYLESS: &[u8] = include_bytes!("../../testdata/registry/entityless_before.db");
    const ENTITYLESS_AFTER: &[u8] = include_bytes!("../../testdata/registry/entityless_after.db");
    const STREAM: &[u8] = include_bytes!("../../testdata/registry/stream_view_before.db");
    const STREAM_AFTER: &[u8] = include_bytes!("../../testdata/registry/stream_view_after.db");
    const START: i64 = 1_672_531_200_000_000;
    const END: i64 = 1_735_689_600_000_000;
    const NOW: IntervalRecord =
        IntervalRecord { start_micros: START, end_micros: END, now_micros: 1_795_427_999_000_007 };

    /// What a record renews in a view's `meta`: the time of the update, intervals, state.
    const RENEWED: [u32; 3] = [2, INTERVALS, 6];

    fn changed(edit: Result<FileEdit, Error>) -> Vec<u8> {
        match edit.expect("the file is well formed") {
            FileEdit::Changed(bytes) => bytes,
            other => panic!("the file must change, not {other:?}"),
        }
    }

    fn field_of(file: &[u8], number: u32) -> Vec<u8> {
        let fields = wire::fields(file).expect("it is a message");
        let mut found = fields.iter().filter(|field| field.number == number);
        let payload = found.next().expect("the field is there").payload.to_vec();
        assert!(found.next().is_none(), "field {number} occurs once");
        payload
    }

    /// All fields but some, in the order of the bytes.
    fn others(message: &[u8], but: &[u32]) -> Vec<Vec<u8>> {
        let fields = wire::fields(message).expect("it is a message");
        let kept = fields.iter().filter(|field| !but.contains(&field.number));
        kept.map(|field| field.whole.to_vec()).collect()
    }

    fn intervals_of(view: &[u8]) -> Vec<(i64, i64)> {
        let meta = message::AnyView::decode(view).expect("it is a view").meta;
        meta.expect("it has one").intervals().collect()
    }

    /// The view as Feast left it, with the one thing that must differ: the time of the update.
    fn feasts_view<M: Message + Default>(file: &[u8], list: u32, set_now: fn(&mut M)) -> M {
        let mut view = M::decode(&*field_of(file, list)).expect("it is a view");
        set_now(&mut view);
        view
    }

    fn now() -> Option<message::Timestamp> {
        Some(message::Timestamp::from_micros(NOW.now_micros))
    }

    #[test]
    fn a_feature_view_becomes_what_feast_makes_of_it() {
        let file = changed(record_interval_in_file(
            ENTITYLESS,
            "proj",
            "fv",
            ViewKind::Feature,
            NOW,
            "new-id",
        ));
        let ours = message::FeatureView::decode(&*field_of(&file, list::FEATURE_VIEWS));
        let theirs = feasts_view(ENTITYLESS_AFTER, list::FEATURE_VIEWS, |view| {
            let view: &mut message::FeatureView = view;
            view.meta.get_or_insert_default().last_updated_timestamp = now();
        });
        assert_eq!(ours.expect("it is a view"), theirs);
        assert_eq!(field_of(&file, list::VERSION_ID), b"new-id");
        let updated = message::Timestamp::decode(&*field_of(&file, list::LAST_UPDATED));
        assert_eq!(updated.ok(), now());
    }

    #[test]
    fn a_stream_view_becomes_what_feast_makes_of_it() {
        let file =
            changed(record_interval_in_file(STREAM, "proj", "fv", ViewKind::Stream, NOW, "new-id"));
        let ours =
            message::StreamFeatureView::decode(&*field_of(&file, list::STREAM_FEATURE_VIEWS));
        let theirs = feasts_view(STREAM_AFTER, list::STREAM_FEATURE_VIEWS, |view| {
            let view: &mut message::StreamFeatureView = view;
            view.meta.get_or_insert_default().last_updated_timestamp = now();
        });
        assert_eq!(ours.expect("it is a view"), theirs);
    }

    #[test]
    fn all_other_bytes_stay() {
        let file = changed(record_interval_in_file(
            ENTITYLESS,
            "proj",
            "fv",
            ViewKind::Feature,
            NOW,
            "new-id",
        ));
        let edited = [list::VERSION_ID, list::LAST_UPDATED, list::FEATURE_VIEWS];
        assert_eq!(others(&file, &edited), others(ENTITYLESS, &edited));
        let view = |file: &[u8]| others(&field_of(file, list::FEATURE_VIEWS), &[META]);
        assert_eq!(view(&file), view(ENTITYLESS));
        let meta = |file| others(&field_of(&field_of(file, list::FEATURE_VIEWS), META), &RENEWED);
        assert_eq!(meta(&file), meta(ENTITYLESS));
    }

    #[test]
    fn fields_that_nobody_knows_survive() {
        let mut view = field_of(ENTITYLESS, list::FEATURE_VIEWS);
        wire::put_field(99, b"of the view", &mut view);
        let mut meta = Vec::new();
        wire::put_field(77, b"of the meta", &mut meta);
        wire::put_field(META, &meta, &mut view);
        let edited = record_interval(&view, NOW).expect("it is a view").expect("it is new");
        assert_eq!(field_of(&edited, 99), b"of the view");
        assert_eq!(field_of(&field_of(&edited, META), 77), b"of the meta");
    }

    #[test]
    fn records_that_adjoin_leave_the_message_as_long_as_it_was() {
        let view = field_of(ENTITYLESS, list::FEATURE_VIEWS);
        let record = |view: &[u8], number: i64| {
            let (start_micros, end_micros) = (START + number * 10, START + number * 10 + 10);
            let record = IntervalRecord { start_micros, end_micros, ..NOW };
            record_interval(view, record).expect("it is a view").expect("it is new")
        };
        let first = record(&view, 1);
        let last = (2..50).fold(first.clone(), |view, number| record(&view, number));
        assert_eq!(intervals_of(&last), [(START + 10, START + 500)]);
        assert!(last.len() <= first.len() + 1, "{} after {}", last.len(), first.len());
    }

    #[test]
    fn an_interval_that_says_more_than_its_ends_is_left_alone() {
        let mut telling = encoded_interval((START, START + 10));
        wire::put_field(9, b"of a newer Feast", &mut telling);
        let time = message::Timestamp { seconds: 1_672_531_201, nanos: 1 };
        let finer =
            message::MaterializationInterval { start_time: Some(time), end_time: Some(time) };
        let mut meta = Vec::new();
        for interval in [&telling, &finer.encode_to_vec()] {
            wire::put_field(INTERVALS, interval, &mut meta);
        }
        let mut view = field_of(ENTITYLESS, list::FEATURE_VIEWS);
        wire::put_field(META, &meta, &mut view);
        let edited = record_interval(&view, NOW).expect("it is a view").expect("it is new");
        let meta = field_of(&edited, META);
        let fields = wire::fields(&meta).expect("it is a message");
        let intervals = fields.iter().filter(|field| field.number == INTERVALS);
        let payloads: Vec<&[u8]> = intervals.map(|field| field.payload).collect();
        assert_eq!(payloads, [telling, finer.encode_to_vec(), encoded_interval((START, END))]);
        assert_eq!(record_interval(&edited, NOW).expect("it is a view"), None);
    }

    #[test]
    fn the_same_interval_is_recorded_once() {
        let record = || {
            let file = ENTITYLESS_AFTER;
            record_interval_in_file(file, "proj", "fv", ViewKind::Feature, NOW, "id")
        };
        assert_eq!(record().expect("it is well formed"), FileEdit::AlreadyThere);
        let longer = IntervalRecord { end_micros: END + 1, ..NOW };
        let file = changed(record_interval_in_file(
            ENTITYLESS_AFTER,
            "proj",
            "fv",
            ViewKind::Feature,
            longer,
            "id",
        ));
        let snapshot = Snapshot::from_file(&file, "proj").expect("it is well formed");
        assert_eq!(snapshot.views[0].materialization_intervals, [(START, END + 1)]);
    }

    #[test]
    fn a_whole_second_replaces_the_fraction_before_it() {
        let view = field_of(ENTITYLESS, list::FEATURE_VIEWS);
        let record = IntervalRecord { now_micros: 0, start_micros: -1, end_micros: 0 };
        let edited = record_interval(&view, record).expect("it is a view").expect("it is new");
        let meta = message::AnyView::decode(&*edited).expect("it is a view").meta;
        let meta = meta.expect("it has one");
        assert_eq!(meta.last_updated_timestamp, Some(message::Timestamp::default()));
        assert_eq!(intervals_of(&edited), [(-1, 0)]);
    }

    #[test]
    fn a_view_that_is_not_there_is_gone() {
        for (project, view, kind) in [
            ("other", "fv", ViewKind::Feature),
            ("proj", "other", ViewKind::Feature),
            ("proj", "fv", ViewKind::Stream),
        ] {
            let edit = record_interval_in_file(ENTITYLESS, project, view, kind, NOW, "id");
            assert_eq!(edit.expect("it is well formed"), FileEdit::ViewGone);
        }
    }

    #[test]
    fn kinds_without_intervals_are_refused() {
        for kind in [ViewKind::OnDemand, ViewKind::Label] {
            let edit = record_interval_in_file(ENTITYLESS, "proj", "fv", kind, NOW, "id");
            assert!(matches!(edit, Err(Error::NoIntervals { .. })));
        }
    }

    #[test]
    fn the_edited_view_becomes_the_last_of_its_list() {
        let view = field_of(ENTITYLESS, list::FEATURE_VIEWS);
        let spec = message::AnyViewSpec { name: "second".to_owned(), project: "proj".to_owned() };
        let second = message::AnyView { spec: Some(spec), meta: None }.encode_to_vec();
        let mut file = Vec::new();
        wire::put_field(list::FEATURE_VIEWS, &view, &mut file);
        wire::put_field(list::FEATURE_VIEWS, &second, &mut file);
        wire::put_field(99, b"behind", &mut file);
        let file =
            changed(record_interval_in_file(&file, "proj", "fv", ViewKind::Feature, NOW, "id"));
        let fields = wire::fields(&file).expect("it is a message");
        let numbers: Vec<u32> = fields.iter().map(|field| field.number).collect();
        assert_eq!(numbers, [6, 6, 99, 4, 5]);
        assert_eq!(fields[0].payload, second);
        assert_eq!(others(fields[1].payload, &[META]), others(&view, &[META]));
    }
}
