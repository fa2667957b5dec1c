//! The form of values in columns, and the reading of a row: column by column, in the order of the `SELECT`.

use mdk_wire::push::EncryptedToken;
use mdk_wire::{
    ContentId, EventId, GroupId, KeyPackageRef, NostrGroupId, PublicKey, Secret, SecretVec,
};
use rusqlite::Row;
use rusqlite::types::{ToSql, ToSqlOutput, Value, ValueRef};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Result, StoreError};

/// An unsigned 64-bit value as a column: INTEGER up to `i64::MAX`, above that 8 bytes big endian. SQLite sorts INTEGER
/// before BLOB, so comparing columns compares values, and any value that a peer sends can be stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct U64(pub(crate) u64);

impl ToSql for U64 {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(match i64::try_from(self.0) {
            Ok(small) => Value::Integer(small),
            Err(_) => Value::Blob(self.0.to_be_bytes().to_vec()),
        }))
    }
}

/// A list as a column, in postcard encoding.
pub(crate) fn encode_list<T: Serialize>(list: &[T]) -> Result<Vec<u8>> {
    postcard::to_stdvec(list).map_err(|_| StoreError::Internal { what: "encoding a list", code: 0 })
}

/// Keys as a column: their bytes one after the other.
pub(crate) fn encode_keys(keys: &[PublicKey]) -> Vec<u8> {
    keys.iter().flat_map(|key| *key.as_bytes()).collect()
}

/// Reads the columns of one row from left to right.
pub(crate) struct Columns<'r> {
    row: &'r Row<'r>,
    table: &'static str,
    next: usize,
}

impl<'r> Columns<'r> {
    /// Starts at the first column. `table` names the row in errors.
    pub(crate) fn new(row: &'r Row<'r>, table: &'static str) -> Self {
        Self { row, table, next: 0 }
    }

    fn bad(&self) -> StoreError {
        StoreError::Decode { what: self.table }
    }

    fn value(&mut self) -> Result<ValueRef<'r>> {
        let value = self.row.get_ref(self.next).map_err(|_| self.bad())?;
        self.next += 1;
        Ok(value)
    }

    /// The next column, which may be NULL.
    pub(crate) fn opt<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        if self.value()? == ValueRef::Null {
            return Ok(None);
        }
        self.next -= 1;
        read(self).map(Some)
    }

    pub(crate) fn i64(&mut self) -> Result<i64> {
        match self.value()? {
            ValueRef::Integer(value) => Ok(value),
            _ => Err(self.bad()),
        }
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        match self.value()? {
            ValueRef::Integer(small) => u64::try_from(small).map_err(|_| self.bad()),
            ValueRef::Blob(large) => {
                let value = large.try_into().map(u64::from_be_bytes).map_err(|_| self.bad())?;
                // One value has one form, or equal values would not compare equal.
                if i64::try_from(value).is_ok() { Err(self.bad()) } else { Ok(value) }
            }
            _ => Err(self.bad()),
        }
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.i64()?.try_into().map_err(|_| self.bad())
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        self.i64()?.try_into().map_err(|_| self.bad())
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.i64()?.try_into().map_err(|_| self.bad())
    }

    pub(crate) fn bool(&mut self) -> Result<bool> {
        match self.i64()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.bad()),
        }
    }

    /// An enum that `stored_enum!` made.
    pub(crate) fn variant<T>(&mut self, from: impl FnOnce(u8) -> Option<T>) -> Result<T> {
        let stored = self.u8()?;
        from(stored).ok_or_else(|| self.bad())
    }

    pub(crate) fn text(&mut self) -> Result<String> {
        match self.value()? {
            ValueRef::Text(text) => {
                std::str::from_utf8(text).map(str::to_owned).map_err(|_| self.bad())
            }
            _ => Err(self.bad()),
        }
    }

    fn blob(&mut self) -> Result<&'r [u8]> {
        match self.value()? {
            ValueRef::Blob(bytes) => Ok(bytes),
            _ => Err(self.bad()),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>> {
        self.blob().map(<[u8]>::to_vec)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.blob()?.try_into().map_err(|_| self.bad())
    }

    pub(crate) fn secret<const N: usize>(&mut self) -> Result<Secret<N>> {
        // The bytes go straight from SQLite's memory, which is wiped, into the type that wipes itself.
        Ok(Secret::new(self.array()?))
    }

    pub(crate) fn secret_vec(&mut self) -> Result<SecretVec> {
        Ok(SecretVec::new(self.blob()?.to_vec()))
    }

    pub(crate) fn list<T: DeserializeOwned>(&mut self) -> Result<Vec<T>> {
        match postcard::take_from_bytes(self.blob()?) {
            Ok((list, [])) => Ok(list),
            _ => Err(self.bad()),
        }
    }

    pub(crate) fn group_id(&mut self) -> Result<GroupId> {
        GroupId::from_bytes(self.blob()?).map_err(|_| self.bad())
    }

    pub(crate) fn nostr_group_id(&mut self) -> Result<NostrGroupId> {
        self.array().map(NostrGroupId::from_bytes)
    }

    pub(crate) fn event_id(&mut self) -> Result<EventId> {
        self.array().map(EventId::from_bytes)
    }

    pub(crate) fn content_id(&mut self) -> Result<ContentId> {
        self.array().map(ContentId::from_bytes)
    }

    pub(crate) fn reference(&mut self) -> Result<KeyPackageRef> {
        self.array().map(KeyPackageRef::from_bytes)
    }

    pub(crate) fn encrypted_token(&mut self) -> Result<EncryptedToken> {
        EncryptedToken::from_bytes(self.blob()?).map_err(|_| self.bad())
    }

    pub(crate) fn public_key(&mut self) -> Result<PublicKey> {
        PublicKey::from_bytes(self.array()?).map_err(|_| self.bad())
    }

    pub(crate) fn public_keys(&mut self) -> Result<Vec<PublicKey>> {
        let (keys, rest) = self.blob()?.as_chunks::<32>();
        if !rest.is_empty() {
            return Err(self.bad());
        }
        // The keys of members and admins were lifted when they were read from the wire, and are too many to lift again.
        Ok(keys.iter().copied().map(PublicKey::from_lifted).collect())
    }
}

/// An enum whose numbers are stored in the database.
macro_rules! stored_enum {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $number:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$doc])* $variant = $number,)+ }

        impl $name {
            /// The variant of a stored number.
            pub(crate) fn from_stored(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use stored_enum;

/// A `Debug` that shows only the named fields. Rows hold keys, ids and content, which no log may show.
macro_rules! guarded_debug {
    ($name:ident { $($field:ident),* }) => {
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))$(.field(stringify!($field), &self.$field))*.finish_non_exhaustive()
            }
        }
    };
}
pub(crate) use guarded_debug;
