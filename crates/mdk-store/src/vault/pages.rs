//! SQLCipher page format (stub).
