//! The configuration file: every text is read, every finding stands at a place of it, and what is accepted can be
//! founded on, stored, planned with, and edited without a change of what was not touched.

use regent_cli::edit::Editor;
use regent_engine::format;
use regent_model::NodeId;
use regent_model::config::{Config, Parsed, Severity, guarantees, parse};
use regent_model::format::Speaks;
use regent_model::state::State;
use regent_planner::{View, decide, place};

use crate::world;

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let parsed = parse(text);
    findings_are_places(text, &parsed);
    if let Some(config) = parsed.config {
        is_of_use(config, text);
        let edited = Editor::read(text).map(|editor| editor.text()).unwrap_or_default();
        // The editor ends the last line, and all lines in one way.
        assert!(edited.lines().eq(text.lines()), "what was not touched has changed:\n{edited}");
    }
}

fn findings_are_places(text: &str, parsed: &Parsed) {
    assert_eq!(parsed.config.is_none(), parsed.count(Severity::Error) > 0, "an error, or a configuration");
    for finding in &parsed.findings {
        for span in std::iter::once(&finding.span).chain(finding.related.iter().map(|(span, _)| span)) {
            assert!(text.get(span.start..span.end).is_some(), "beyond the text: {finding:?}");
        }
        let (line, column) = finding.line_and_column(text);
        assert!(line >= 1 && column >= 1 && !finding.message.is_empty(), "{finding:?}");
    }
}

fn is_of_use(config: Config, text: &str) {
    assert!(!config.summary().is_empty());
    assert_eq!(guarantees(&config).len(), config.groups.len());
    let state = world::founded(config, text);
    let view = View {
        voters: state.members.keys().copied().collect(),
        heard: state.members.keys().map(|id: &NodeId| world::life(*id)).collect(),
        ..View::default()
    };
    for group in state.groups.keys() {
        let _where_it_belongs = place(&state, &view, group);
    }
    let _what_is_next = decide(&state, &view);
    let bytes = format::write(state.format, &state);
    let again: State = format::read(&bytes, Speaks::THIS).unwrap_or_else(|e| panic!("{e}"));
    assert!(again == state, "what is stored is what is read");
}

pub(crate) fn starters() -> Vec<Vec<u8>> {
    let texts = [
        world::WARD7,
        include_str!("../../../examples/every-key.toml"),
        include_str!("../../../examples/two-nodes-disk.toml"),
        include_str!("../../../examples/postgresql.toml"),
        include_str!("../../../examples/cache/active-active.toml"),
        include_str!("../../../examples/cache/hot-standby.toml"),
        include_str!("../../../examples/hacmp/hot-standby-events.toml"),
        include_str!("../../../examples/hacmp/mutual-takeover.toml"),
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}
