//! stub
use crate::DatabaseKey;
use std::path::Path;
/// How serious a finding is.
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
    /// How serious.
    pub level: Level,
    /// What it is about: a stable word such as `directory`, `database`, `key`, `lock`, `clock`.
    pub topic: &'static str,
    /// What was found, without secrets.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}
/// The report.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DoctorReport {
    /// The findings, in a fixed order of topics.
    pub findings: Vec<Finding>,
}
/// Looks at everything that a database depends on, changes nothing, and takes less than two seconds.
pub fn doctor(_path: &Path, _key: Option<&DatabaseKey>) -> DoctorReport {
    unimplemented!()
}
