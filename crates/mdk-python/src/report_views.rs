//! Reports of the store as the frozen dataclasses of `mdk.reports`.

use mdk_store::{
    BackupReport, DoctorReport, EncryptReport, Finding, Level, RekeyReport, RestoreReport,
    SalvageReport, VerifyReport,
};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::views::{ToPy, build, imported, time};

impl<'py> ToPy<'py> for VerifyReport {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        build!(
            py,
            "mdk.reports",
            "VerifyReport",
            self.pages,
            self.bad_pages,
            self.bad_page_count,
            self.log_pages,
            self.structure,
            self.logic,
            self.remarks,
        )
    }
}

impl<'py> ToPy<'py> for RekeyReport {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        build!(py, "mdk.reports", "DatabaseRekeyReport", self.bytes, self.old_key_kept)
    }
}

impl<'py> ToPy<'py> for BackupReport {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        build!(py, "mdk.reports", "BackupReport", self.bytes, self.rows)
    }
}

impl<'py> ToPy<'py> for RestoreReport {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        build!(
            py,
            "mdk.reports",
            "RestoreReport",
            self.groups,
            self.must_update,
            time(py, self.created_at)?,
            self.rows,
        )
    }
}

impl<'py> ToPy<'py> for EncryptReport {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        build!(py, "mdk.reports", "EncryptReport", self.tables, self.rows, self.bytes)
    }
}

impl<'py> ToPy<'py> for SalvageReport {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let saved = PyDict::new(py);
        for (table, rows) in self.saved {
            saved.set_item(table, rows)?;
        }
        build!(py, "mdk.reports", "SalvageReport", self.bad_pages, saved.into_any(), self.missing)
    }
}

impl<'py> ToPy<'py> for Level {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let name = match self {
            Self::Ok => "OK",
            Self::Note => "NOTE",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        };
        imported!(py, "mdk.reports", "Level")?.getattr(name)
    }
}

impl<'py> ToPy<'py> for Finding {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        build!(py, "mdk.reports", "Finding", self.level, self.topic, self.text, self.hint)
    }
}

impl<'py> ToPy<'py> for DoctorReport {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        build!(py, "mdk.reports", "DoctorReport", self.findings)
    }
}
