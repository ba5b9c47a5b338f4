//! Byte ranges: which a row group needs, and how they are put into few requests.
//!
//! Pure, so that what is read can be told, and checked, before anything is.

use std::ops::Range;

use parquet::file::metadata::ParquetMetaData;

use super::RowGroup;

/// Bytes that nobody asked for may be this share of those that were, one in so many: reading over
/// a small gap saves a request, and a window is to read little more than its own bytes.
const WASTE_SHARE: u64 = 10;
/// Wasted bytes that are always worth a request: a round trip takes longer than these.
const WASTE_BYTES_FREE: u64 = 16 << 10;
/// Bytes of one request: large enough that round trips do not count, small enough that several
/// share a large row group and that none outlasts a request's timeout on a slow line.
const REQUEST_BYTES_MAX: u64 = 8 << 20;

/// The bytes that a reader of these leaf columns asks for: whole column chunks, or the dictionary
/// and the pages that hold selected rows.
pub(super) fn needed(
    footer: &ParquetMetaData,
    group: &RowGroup,
    leaves: &[usize],
) -> Vec<Range<u64>> {
    let columns = footer.row_group(group.index).columns();
    let index = footer.offset_index().and_then(|index| index.get(group.index));
    let mut ranges = Vec::new();
    for &leaf in leaves {
        let (start, length) = columns[leaf].byte_range();
        let pages = index.and_then(|index| index.get(leaf)).map(|index| index.page_locations());
        match (&group.selection, pages) {
            (Some(selection), Some(pages)) => {
                let first = pages.first().and_then(|page| u64::try_from(page.offset).ok());
                // What stands before the first page is the dictionary.
                ranges.extend(first.filter(|&first| first > start).map(|first| start..first));
                ranges.extend(selection.scan_ranges(pages));
            }
            _ => ranges.push(start..start + length),
        }
    }
    ranges
}

/// Puts ranges into as few requests as reading over small gaps allows, in order.
pub(super) fn coalesce(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_unstable_by_key(|range| (range.start, range.end));
    let wanted: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    let gap_max = widest_gap(&ranges, (wanted / WASTE_SHARE).max(WASTE_BYTES_FREE));
    let mut spans: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match spans.last_mut() {
            Some(last) if range.start <= last.end + gap_max => last.end = last.end.max(range.end),
            _ => spans.push(range),
        }
    }
    spans.into_iter().flat_map(split).collect()
}

/// The widest gap such that reading over it and all narrower ones wastes no more than allowed.
fn widest_gap(ranges: &[Range<u64>], waste_max: u64) -> u64 {
    let gap = |pair: &[Range<u64>]| pair[1].start.saturating_sub(pair[0].end);
    let mut gaps: Vec<u64> = ranges.windows(2).map(gap).collect();
    gaps.sort_unstable();
    let mut waste = 0;
    let mut widest = 0;
    for same in gaps.chunk_by(|left, right| left == right) {
        waste += same.iter().sum::<u64>();
        if waste > waste_max {
            break;
        }
        widest = same[0];
    }
    widest
}

/// Cuts a span into requests of about the same size.
fn split(span: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let length = span.end - span.start;
    let parts = length.div_ceil(REQUEST_BYTES_MAX);
    let at = move |part: u64| span.start + length * part / parts;
    (0..parts).map(move |part| at(part)..at(part + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KIB: u64 = 1 << 10;

    #[test]
    fn neighbours_and_small_gaps_become_one_request() {
        let ranges = vec![300 * KIB..400 * KIB, 0..100 * KIB, 100 * KIB..290 * KIB];
        assert_eq!(coalesce(ranges), vec![0..400 * KIB; 1]);
    }

    #[test]
    fn a_large_gap_is_not_read_over() {
        let ranges = vec![0..100 * KIB, 1000 * KIB..1100 * KIB];
        assert_eq!(coalesce(ranges.clone()), ranges);
    }

    #[test]
    fn a_large_span_is_read_in_several_requests() {
        let requests = coalesce(vec![0..20 << 20; 1]);
        assert_eq!(requests.len(), 3);
        assert!(requests.iter().all(|range| range.end - range.start <= REQUEST_BYTES_MAX));
    }

    proptest! {
        #[test]
        fn every_wanted_byte_is_read_once_and_few_others(
            lengths in proptest::collection::vec((0_u64..200_000, 1_u64..3_000_000), 1..40),
        ) {
            let mut end = 0;
            let mut ranges = Vec::new();
            for (gap, length) in lengths {
                ranges.push(end + gap..end + gap + length);
                end += gap + length;
            }
            let wanted: u64 = ranges.iter().map(|range| range.end - range.start).sum();
            let requests = coalesce(ranges.clone());
            let read: u64 = requests.iter().map(|range| range.end - range.start).sum();
            prop_assert!(read <= wanted + (wanted / WASTE_SHARE).max(WASTE_BYTES_FREE));
            prop_assert!(requests.windows(2).all(|pair| pair[0].end <= pair[1].start));
            for range in ranges {
                let inside = |request: &Range<u64>| {
                    let end = request.end.min(range.end);
                    end.saturating_sub(request.start.max(range.start))
                };
                let inside: u64 = requests.iter().map(inside).sum();
                prop_assert_eq!(inside, range.end - range.start);
            }
        }
    }
}
