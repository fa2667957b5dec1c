//! What an open database gives when a page is damaged: what was stored, or an error. Never the zeros that SQLCipher puts
//! in the place of a page that is not authentic.

use std::fs;

use mdk_store::*;

use crate::kit::vault::*;

/// How a value is asked for.
#[derive(Clone, Copy, Debug)]
enum Call {
    /// In a transaction that reads.
    Read,
    /// In one that may write and does not.
    Look,
    /// In one that writes.
    Write,
}

fn ask<T>(store: &mut Store, call: Call, f: impl Fn(&Tx<'_>) -> Result<T>) -> Result<T> {
    match call {
        Call::Read => store.read(f),
        Call::Look => store.write(f),
        Call::Write => store.write(|tx| {
            let value = f(tx)?;
            tx.set_meta("counter", &[7])?;
            Ok(value)
        }),
    }
}

fn messages(home: &Home) -> Vec<MessageRow> {
    let mut store = open(&home.path, &raw(1));
    store.read(|tx| tx.messages_after(0, u32::MAX)).unwrap()
}

/// The database with one of these pages damaged at a time, opened; where it still opens.
fn hurt(home: &Home, pages: Vec<usize>) -> impl Iterator<Item = (usize, Store)> + '_ {
    let good = home.bytes();
    pages.into_iter().filter_map(move |page| {
        let mut bad = good.clone();
        bad[page * PAGE + 100] ^= 1;
        fs::write(&home.path, &bad).unwrap();
        let _ = fs::remove_file(home.beside("a.db-wal"));
        let _ = fs::remove_file(home.beside("a.db-shm"));
        Some((page, try_open(&home.path, &raw(1)).ok()?))
    })
}

/// The pages of which one of the calls has said that it is damaged.
fn refused(
    home: &Home,
    pages: Vec<usize>,
    mut calls: impl FnMut(usize, &mut Store) -> Result<()>,
) -> Vec<usize> {
    let refused = hurt(home, pages).filter_map(|(page, mut store)| match calls(page, &mut store) {
        Ok(()) => None,
        Err(StoreError::Corrupt) => Some(page),
        Err(error) => panic!("page {page}: {error}"),
    });
    refused.collect()
}

#[test]
fn a_damaged_page_is_an_error_or_is_not_needed_and_never_other_data() {
    let home = Home::new();
    let good = home.bytes();
    let messages = messages(&home);
    let mut pages = (1..good.len() / PAGE).collect();
    for call in [Call::Read, Call::Look, Call::Write] {
        fs::write(&home.path, &good).unwrap();
        // Each value is read by itself: nothing read after it may be what finds the damage. A page that holds the end of a
        // long value holds nothing else.
        let found = refused(&home, pages, |page, store| {
            for (at, message) in messages.iter().enumerate() {
                let found = ask(store, call, |tx| tx.message_by_seq(message.seq))?;
                assert!(found.as_ref() == Some(message), "{call:?}: page {page}, message {at}");
            }
            for n in 1..=GROUPS {
                let state = ask(store, call, |tx| tx.mls_dump(&group_id(n)))?;
                assert!(state.expose() == mls_state(n), "{call:?}: page {page}, group {n}");
            }
            Ok(())
        });
        assert!(found.len() > 40, "{call:?}: {}", found.len());
        pages = found;
    }
}

// Whoever takes what it has read for a peer's mistake says something else than the store.
#[test]
fn an_error_that_was_made_of_a_damaged_page_is_the_one_of_the_page() {
    let home = Home::new();
    let messages = messages(&home);
    let pages = (1..home.bytes().len() / PAGE).collect();
    let found = refused(&home, pages, |_, store| {
        messages.iter().filter(|message| message.content.len() > PAGE).try_for_each(|message| {
            store.read(|tx| match tx.message_by_seq(message.seq)? {
                Some(found) if found == *message => Ok(()),
                _ => Err(StoreError::Internal { what: "understanding", code: 0 }),
            })
        })
    });
    assert!(found.len() > 10, "{}", found.len());
}
