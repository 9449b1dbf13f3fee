//! What the configuration accepts, which source wins, and what its refusals say.

use lucid_settings::merge;

use super::*;

fn flag(name: &str, text: &str) -> (String, String, String) {
    (name.to_owned(), format!("--set {name}"), text.to_owned())
}

fn env(name: &str, text: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), text.to_owned())]
}

fn with_file(text: &str) -> Result<Loaded, SettingsError> {
    merge(Some((Path::new("test.toml"), text)), Vec::new(), &Vec::new())
}

#[test]
fn defaults_stand_when_nothing_is_said() {
    let loaded = merge::<Config>(None, Vec::new(), &Vec::new()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.origins.is_empty());
}

#[test]
fn flags_win_over_environment_over_file() {
    let file = "[http]\nburst = 5\nlisten = \"127.0.0.1:1\"\nlisten_tls = \"127.0.0.1:2\"\n";
    let mut variables = env("LUCID_HTTP_LISTEN", "127.0.0.1:3");
    variables.extend(env("LUCID_HTTP_LISTEN_TLS", "off"));
    let flags = vec![flag("http.listen", "127.0.0.1:4")];
    let loaded = merge::<Config>(Some((Path::new("test.toml"), file)), variables, &flags).unwrap();
    assert_eq!(loaded.config.http.burst, 5);
    assert_eq!(loaded.config.http.listen, Some("127.0.0.1:4".parse().unwrap()));
    assert_eq!(loaded.config.http.listen_tls, None);
    assert_eq!(loaded.origins["http.listen"].to_string(), "--set http.listen");
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    let error = with_file("[http]\nlisten_tsl = \"off\"\n").unwrap_err();
    let text = error.to_string();
    assert!(text.contains("`http.listen_tsl`") && text.contains("`http.listen_tls`"), "{text}");
    let error = merge::<Config>(None, env("LUCID_HTP_LISTEN", "x"), &Vec::new()).unwrap_err();
    assert!(error.to_string().contains("LUCID_HTTP_LISTEN"), "{error}");
    merge::<Config>(None, env("LUCID_TEST_SEED", "x"), &Vec::new()).unwrap();
    merge::<Config>(None, env("PATH", "x"), &Vec::new()).unwrap();
}

#[test]
fn an_unfit_value_says_what_would_be_right() {
    for (text, expected) in [
        ("drain_s = 0", "seconds from 0.1 to 600"),
        ("drain_s = \"soon\"", "seconds from 0.1 to 600"),
        ("[http]\nlisten = 8080", "ADDRESS:PORT"),
        ("[http]\nlisten = \"localhost\"", "ADDRESS:PORT"),
        ("[http]\nburst = -1", "from 1 to 1000000"),
        ("[http]\nplain = \"yes\"", "loopback, everywhere"),
        ("[http]\nhost_names = [1]", "list of strings"),
        ("[metrics]\nloopback = \"maybe\"", "true or false"),
        ("[log]\nlevel = \"lucid=loud=\"", "not a log filter"),
        ("[log]\nlevel = \"inof\"", "\"inof\" is no level: error, warn"),
        ("[log]\nlevel = \"lucid=debug,inof\"", "is no level"),
        ("name = \"\"", "expected text"),
        ("[panel]\ngpio = \"pigpio\"", "known are auto"),
        ("[panel]\nled_line = 64", "from 0 to 63"),
        ("[[http]]\nburst = 1", "unknown key `http`"),
        ("[http]\nlisten = \"off\"\nlisten_tls = \"off\"", "both off"),
        ("name = ", "not valid TOML"),
    ] {
        let error = with_file(text).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn the_printed_configuration_reads_back_as_itself() {
    let flags = vec![
        flag("name", "gate \"north\""),
        flag("http.host_names", "gate.example, 192.0.2.7"),
        flag("log.format", "json"),
        flag("drain_s", "2.5"),
    ];
    let loaded = merge::<Config>(None, Vec::new(), &flags).unwrap();
    let again = with_file(&loaded.to_toml()).unwrap();
    assert_eq!(again.config, loaded.config);
    assert_eq!(again.origins.len(), KEYS.len());
}

#[test]
fn every_key_has_its_own_environment_variable() {
    let mut names: Vec<_> = KEYS.iter().map(Key::variable).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), KEYS.len());
}
