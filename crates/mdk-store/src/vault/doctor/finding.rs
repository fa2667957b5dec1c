//! The findings of a report: their levels, topics and texts.

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Works, but should be changed.
    Warning,
    /// Does not work.
    Error,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The severity.
    pub level: Level,
    /// The topic: `directory`, `filesystem`, `space`, `files`, `database`, `leftovers`, `lock`, `key`, `versions`,
    /// `build`, `clock`, `memory` or `core`.
    pub topic: &'static str,
    /// The finding, without paths and secrets. The service id and the key id may appear.
    pub text: String,
    /// The advice.
    pub hint: Option<String>,
}

/// The report.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DoctorReport {
    /// The findings, in a fixed order of topics.
    pub findings: Vec<Finding>,
}

impl DoctorReport {
    /// The most serious level of all findings; `Ok` when there are none.
    #[must_use]
    pub fn worst(&self) -> Level {
        self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
    }

    pub(super) fn say(&mut self, level: Level, topic: &'static str, text: impl Into<String>) {
        self.findings.push(Finding { level, topic, text: text.into(), hint: None });
    }

    /// Replaces the finding that all is well with a topic.
    pub(super) fn correct(
        &mut self,
        level: Level,
        topic: &'static str,
        text: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let (text, hint) = (text.into(), Some(hint.into()));
        let well = |finding: &&mut Finding| finding.topic == topic && finding.level == Level::Ok;
        if let Some(finding) = self.findings.iter_mut().find(well) {
            *finding = Finding { level, topic, text, hint };
        }
    }

    pub(super) fn advise(
        &mut self,
        level: Level,
        topic: &'static str,
        text: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let (text, hint) = (text.into(), Some(hint.into()));
        self.findings.push(Finding { level, topic, text, hint });
    }
}
