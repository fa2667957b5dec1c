//! Tests of the refusals and the settings of a configured connection, seen on a connection itself.
#![allow(clippy::unwrap_used)]

use std::{
    cell::Cell,
    fs::{self, File},
    rc::Rc,
};

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use super::*;

/// Makes the connection like one of plain SQLite: it ignores the pragmas of SQLCipher and answers nothing to them.
fn without_cipher(conn: &mut Connection) {
    let plain = |context: AuthContext<'_>| match context.action {
        AuthAction::Pragma { pragma_name, .. } if pragma_name.starts_with("cipher_") => {
            Authorization::Ignore
        }
        _ => Authorization::Allow,
    };
    conn.authorizer(Some(plain)).unwrap();
}

#[test]
fn a_connection_without_sqlcipher_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    File::create_new(&path).unwrap();
    for fresh in [true, false] {
        let mut conn = Connection::open_with_flags(&path, FLAGS).unwrap();
        without_cipher(&mut conn);
        let key = Secret::new([1; 32]);
        assert_eq!(configure_connection(&conn, Some(&key), fresh), Err(OpenError::CipherMissing));
        assert_eq!(configure_connection(&conn, None, fresh), Err(OpenError::CipherMissing));
        drop(conn);
        assert_eq!(fs::read(&path).unwrap(), b"");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a file was made");
    }
    let conn = Connection::open_with_flags(&path, FLAGS).unwrap();
    assert_eq!(
        configure_connection(&conn, Some(&Secret::new([1; 32])), true),
        Ok(()),
        "with it, all is well"
    );
}

/// Another program can give a file of ours a map of pointers. Such a file is left alone.
#[test]
fn a_file_with_a_map_of_pointers_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    File::create_new(&path).unwrap();
    let key = Secret::new([1; 32]);
    let open = || Connection::open_with_flags(&path, FLAGS).unwrap();
    let conn = open();
    configure_connection(&conn, Some(&key), true).unwrap();
    conn.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
    drop(conn);
    for mode in [1, 2] {
        let conn = open();
        unlock(&conn, &key).unwrap();
        let sql = format!("PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = {mode}; VACUUM");
        conn.execute_batch(&sql).unwrap();
        drop(conn);
        let before = fs::read(&path).unwrap();
        let refused = Err(OpenError::ForeignDatabase { found: APPLICATION_ID });
        assert_eq!(configure_connection(&open(), Some(&key), false), refused);
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}

/// Files of this process that have lost their name, as SQLite's temporary files have.
#[cfg(target_os = "linux")]
fn nameless_files() -> usize {
    let of = |entry: std::io::Result<fs::DirEntry>| fs::read_link(entry.ok()?.path()).ok();
    let links = fs::read_dir("/proc/self/fd").unwrap().filter_map(of);
    links.filter(|link| link.to_string_lossy().contains("etilqs_")).count()
}

#[test]
#[cfg(target_os = "linux")]
fn a_sort_of_a_hundred_megabytes_makes_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::of(&dir.path().join("home").join("a.db"), FileRole::Database).unwrap();
    place.create_new(place.name(), FileRole::Database).unwrap();
    let conn = open_configured(&place, place.name(), &Secret::new([1; 32]), true, |conn| {
        Ok(conn.execute_batch("CREATE TABLE t (a)")?)
    })
    .unwrap();
    // The count sees such a file, which has a name of SQLite and is removed.
    let control = dir.path().join("etilqs_0123456789abcdef");
    let file = File::create_new(&control).unwrap();
    fs::remove_file(&control).unwrap();
    assert_eq!(nameless_files(), 1);
    drop(file);

    let (looks, seen) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    for temporary in ["FILE", "MEMORY"] {
        // The setting is compiled in, so this pragma cannot change it.
        conn.execute_batch(&format!("PRAGMA temp_store = {temporary}")).unwrap();
        let sorted: i64 = {
            let mut rows = conn
                .prepare(
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
                     SELECT randomblob(1000) AS blob FROM n ORDER BY blob",
                )
                .unwrap();
            let mut rows = rows.query([]).unwrap();
            let mut bytes = 0;
            while let Some(row) = rows.next().unwrap() {
                if bytes % 10_000_000 == 0 {
                    looks.set(looks.get() + 1);
                    seen.set(seen.get() + nameless_files());
                }
                bytes += row.get_ref(0).unwrap().as_blob().unwrap().len() as i64;
            }
            bytes
        };
        assert_eq!(sorted, 100_000_000);
    }
    assert_eq!((looks.get(), seen.get()), (20, 0));
}
