//! Configuration from its three places.

use lucid_settings::merge;

use super::*;

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn flags(pairs: &[(&str, &str)]) -> Flags {
    pairs.iter().map(|(key, text)| ((*key).into(), format!("--{key}"), (*text).into())).collect()
}

#[test]
fn flags_beat_variables_and_variables_beat_the_file() {
    let file = "network = \"nile\"\n[payout]\nminimum = 2\nmaximum = \"500.5\"\n";
    let loaded = merge::<Config>(
        Some((Path::new("/x.toml"), file)),
        env(&[("LUCID_PAY_PAYOUT_MINIMUM", "3"), ("LUCID_PAY_SEED", "7"), ("OTHER", "x")]),
        &flags(&[("network", "sandbox")]),
    )
    .unwrap();
    assert_eq!(loaded.config.network, Network::Sandbox);
    assert_eq!(loaded.config.minimum, Usdt::whole(3));
    assert_eq!(loaded.config.maximum, Usdt::from_units(500_500_000).unwrap());
    assert_eq!(loaded.origins["payout.maximum"], Origin::File("/x.toml".into()));
}

#[test]
fn an_unknown_key_names_the_nearest_one_of_its_place() {
    let cases = [
        (merge::<Config>(Some((Path::new("/x"), "netwrok = \"nile\"")), [], &vec![]), "`network`"),
        (
            merge::<Config>(Some((Path::new("/x"), "[payout]\nminimun = 1")), [], &vec![]),
            "`payout.minimum`",
        ),
        (
            merge::<Config>(None, env(&[("LUCID_PAY_NODE_URL", "x")]), &vec![]),
            "`LUCID_PAY_NODE_URLS`",
        ),
        (merge::<Config>(None, [], &flags(&[("gateway.user", "x")])), "`gateway.users`"),
    ];
    for (found, nearest) in cases {
        let error = found.unwrap_err().to_string();
        assert!(error.contains("unknown key") && error.contains(nearest), "{error}");
    }
}

#[test]
fn values_that_do_not_fit_say_what_would() {
    for (key, text, words) in [
        ("network", "main", "one of mainnet, nile"),
        ("payout.minimum", "-1", "negative"),
        ("payout.minimum", "1.0000001", "6 decimals"),
        ("payout.deny", "TXYZ", "TXYZ"),
        ("payout.compliance_key", "00", "64 hexadecimal digits"),
        ("node.urls", "http://example.org", "https"),
        ("node.urls", "ftp://example.org", "expected NAME=URL"),
        ("node.urls", "https://user@example.org", "expected NAME=URL"),
        ("node.timeout_s", "0", "from 1 to 120"),
        ("gateway.socket", "x.sock", "absolute"),
        ("router.function", "payout(address,uint256)", "router.address"),
        ("payout.lifetime_s", "90000", "seconds"),
    ] {
        let error = merge::<Config>(None, [], &flags(&[(key, text)])).unwrap_err().to_string();
        assert!(error.contains(key) && error.contains(words), "{error}");
    }
    let conflict =
        merge::<Config>(None, [], &flags(&[("payout.minimum", "5"), ("payout.maximum", "4")]));
    assert!(matches!(conflict, Err(SettingsError::Conflict(_))));
    let conflict = merge::<Config>(None, [], &flags(&[("payout.fee", "1")]));
    assert!(matches!(conflict, Err(SettingsError::Conflict(_))));
}

#[test]
fn what_is_shown_reads_back_to_the_same() {
    let given = flags(&[
        ("network", "shasta"),
        ("node.urls", "a=https://a.example, http://127.0.0.1:8090/"),
        ("payout.deny", "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"),
        ("payout.second_person_above", "0.5"),
        ("router.address", "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"),
        ("gateway.users", "lucid, 1000"),
    ]);
    let loaded = merge::<Config>(None, [], &given).unwrap();
    let text = loaded.to_toml();
    let again = merge::<Config>(Some((Path::new("/again"), &text)), [], &vec![]).unwrap();
    assert_eq!(format!("{:?}", again.config), format!("{:?}", loaded.config));
    assert_eq!(again.config.nodes[1].name, "127.0.0.1:8090");
}

#[test]
fn every_network_has_a_token_and_a_node_or_is_the_sandbox() {
    for (name, network) in Network::ALL {
        assert_eq!(network.name(), name);
        let sandbox = network == Network::Sandbox;
        assert_eq!((network.token().is_none(), network.node().is_none()), (sandbox, sandbox));
    }
}
