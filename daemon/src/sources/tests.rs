//! Sources over a store in memory: what is kept, what is sealed, what is refused.

use lucid_store::memory_store;

use super::*;

const PASSWORD: &str = "rtsp://cam:s3cret@192.0.2.4/stream";

fn source(name: &str, uri: &str) -> Source {
    let uri = SourceUri::parse(uri).unwrap();
    Source::new(name, uri, true, true, Retention::default(), 7).unwrap()
}

fn open(store: &Arc<dyn Store>) -> (Sources, Vec<SourcesError>) {
    Sources::open(Arc::clone(store), &SigningKey::from_seed(&[1; 32])).unwrap()
}

#[test]
fn sources_are_there_after_a_restart_and_their_addresses_are_sealed() {
    let store: Arc<dyn Store> = Arc::new(memory_store("index"));
    let (sources, _) = open(&store);
    let gate = source("Gate", PASSWORD);
    sources.add(&gate).unwrap();
    let demo = source("Demo", "test://");
    sources.add(&demo).unwrap();
    let disable = |demo: &mut Source| {
        demo.enabled = false;
        Ok(())
    };
    sources.change(demo.id.as_str(), disable).unwrap();
    let (again, damaged) = open(&store);
    assert!(damaged.is_empty());
    assert_eq!(again.get(gate.id.as_str()).unwrap(), gate);
    assert_eq!(*again.get(gate.id.as_str()).unwrap().uri.reveal(), PASSWORD);
    assert!(!again.get(demo.id.as_str()).unwrap().enabled);
    assert!(gate.shown_uri().starts_with("rtsp://***@192.0.2.4"), "{}", gate.shown_uri());
    assert!(!format!("{gate:?}").contains("s3cret"));
    let stored = store.get(&record::key(&gate.id)).unwrap().unwrap();
    assert!(!String::from_utf8(stored).unwrap().contains("192.0.2.4"));
    again.remove(gate.id.as_str()).unwrap();
    assert!(matches!(again.remove(gate.id.as_str()), Err(SourcesError::NoSuch(_))));
    assert_eq!(open(&store).0.list().len(), 1);
}

#[test]
fn records_of_another_device_id_or_version_are_damaged_not_lost() {
    let store: Arc<dyn Store> = Arc::new(memory_store("index"));
    let (sources, _) = open(&store);
    let gate = source("Gate", PASSWORD);
    sources.add(&gate).unwrap();
    let key = record::key(&gate.id);
    let bytes = store.get(&key).unwrap().unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    let mut batch = Batch::new();
    batch.put(record::key(&SourceId::parse("src-aaaaaaaa").unwrap()), bytes);
    batch.put(record::key(&SourceId::parse("src-bbbbbbbb").unwrap()), text.replace(":1,", ":2,"));
    batch.put([record::PREFIX, b"src-c"].concat(), text);
    batch.put(record::key(&SourceId::parse("src-dddddddd").unwrap()), "{");
    store.apply(batch).unwrap();
    let (again, damaged) = open(&store);
    assert_eq!(again.list(), [gate]);
    assert_eq!(damaged.len(), 4, "{damaged:?}");
    let other = SigningKey::from_seed(&[2; 32]);
    let (none, damaged) = Sources::open(store, &other).unwrap();
    assert!(none.list().is_empty() && damaged.len() == 5);
}

#[test]
fn unfit_fields_and_one_source_too_many_are_refused() {
    let store: Arc<dyn Store> = Arc::new(memory_store("index"));
    let (sources, _) = open(&store);
    let gate = source("Gate", "test://");
    sources.add(&gate).unwrap();
    let refused = |change: &dyn Fn(&mut Source)| {
        let changed = sources.change(gate.id.as_str(), |source| {
            change(source);
            Ok(())
        });
        matches!(changed, Err(SourcesError::Field { .. }))
    };
    assert!(refused(&|source| source.name = String::new()));
    assert!(refused(&|source| source.name = "x".repeat(129)));
    assert!(refused(&|source| source.name = "a\nb".into()));
    assert!(refused(&|source| source.retention.max_age_s = Some(1)));
    assert!(refused(&|source| source.retention.max_bytes = Some(1)));
    assert_eq!(sources.get(gate.id.as_str()).unwrap(), gate, "a refused change changes nothing");
    for number in 1..SOURCES_MAX {
        sources.add(&source(&number.to_string(), "test://")).unwrap();
    }
    assert!(matches!(sources.add(&source("x", "test://")), Err(SourcesError::TooMany)));
}

#[test]
fn ids_have_one_shape() {
    assert!(SourceId::parse(SourceId::random().unwrap().as_str()).is_some());
    for wrong in ["", "src-", "src-ABCDEFGH", "src-aaaaaaa", "src-aaaaaaaaa", "../aaaaaaaa"] {
        assert!(SourceId::parse(wrong).is_none(), "{wrong}");
    }
}
