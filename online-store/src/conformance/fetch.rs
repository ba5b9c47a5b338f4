//! Rules of reading for a feature server.

use super::{NOW, PROJECT, Probe, SECOND, entity_key, int64, row, tombstone};
use crate::{Fetch, FetchedRow, Fields, OnlineStore};
use feast::redis_layout::encode_timestamp;
use model::EventTime;

fn time(nanos: i64) -> Vec<u8> {
    let (seconds, above) = EventTime::from_nanos(nanos).seconds_and_nanos();
    encode_timestamp(seconds, above)
}

fn cells(row: &FetchedRow, count: usize) -> Vec<Option<&[u8]>> {
    (0..count).map(|at| row.cell(at)).collect()
}

/// Views of one entity, and groups of other entities, come in the order asked for, with what is
/// not stored told from what is null.
pub async fn a_fetch_reads_many_views_in_the_order_asked_for(store: &OnlineStore) {
    let (one, two) = (Probe::new(store, "one", 2).await, Probe::new(store, "two", 1).await);
    one.write(&[row(1, NOW, 2, 1), row(2, NOW + SECOND, 2, 2)]).await;
    two.write(&[row(2, NOW, 1, 7), tombstone(3, NOW)]).await;
    let suffix = store.key_suffix(PROJECT);
    let keys = |entities: &[u32]| -> Vec<Vec<u8>> {
        entities.iter().map(|&entity| entity_key(entity, suffix)).collect()
    };
    let both = Fields::new(vec![two.view.clone(), one.view.clone()]);
    let alone = Fields::new(vec![two.view.clone()]);
    assert_eq!((both.len(), alone.len()), (5, 2));
    let (many, few) = (keys(&[2, 1, 4, 2]), keys(&[3]));
    let groups = [Fetch { fields: &both, keys: &many }, Fetch { fields: &alone, keys: &few }];
    let fetched = store.fetch(&groups).await.expect("the store can be read");
    let (late, now, seven, two_) = (time(NOW + SECOND), time(NOW), int64(7), int64(2));
    let of_two = [Some(&now[..]), Some(&seven), Some(&late), Some(&two_), Some(&two_)];
    let first = int64(1);
    let of_one = [None, None, Some(&now[..]), Some(&first), Some(&first)];
    assert_eq!(cells(&fetched[0][0], 5), of_two);
    assert_eq!(cells(&fetched[0][1], 5), of_one);
    assert_eq!(cells(&fetched[0][2], 5), [None; 5]);
    assert_eq!(cells(&fetched[0][3], 5), of_two);
    assert_eq!(cells(&fetched[1][0], 2), [Some(&now[..]), None]);
    assert!(store.fetch(&[]).await.expect("nothing is asked for").is_empty());
    store.ping().await.expect("it answers");
}
