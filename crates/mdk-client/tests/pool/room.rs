//! As many connections as there may be, and what the owner named first.

use mdk_client::{ClientError, Origin, Pool, PoolOptions};

use super::kit::*;

/// A pool that reaches nobody: its proxy is not there.
async fn alone(max_connections: usize) -> Pool {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    Pool::new(PoolOptions { proxy: Some(gone), max_connections, ..options() })
}

fn has_room(opened: mdk_client::Result<()>) -> bool {
    match opened {
        Ok(()) => true,
        Err(ClientError::NoRoom(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn what_others_name_has_half_of_the_connections() {
    let (pool, user) = (alone(100).await, User::new(16));
    let mut open = 0;
    for n in 0..400 {
        let url = format!("wss://relay{n}.example.org");
        open += usize::from(has_room(pool.open(&url, Origin::Peer, &user.account).await));
    }
    assert_eq!((open, pool.connections()), (50, 50));
    for n in 0..60 {
        let url = format!("wss://own{n}.example.org");
        let room = has_room(pool.open(&url, Origin::User, &user.account).await);
        assert_eq!(room, n < 50, "{n}");
    }
    assert_eq!(pool.connections(), 100);
    // What is open stays open to others who use it, and what is given up makes room.
    let other = User::new(16);
    assert!(has_room(pool.open("wss://own1.example.org", Origin::User, &other.account).await));
    pool.release("wss://relay0.example.org", &user.account.public_key).await;
    assert!(has_room(pool.open("wss://own59.example.org", Origin::User, &user.account).await));
}

#[tokio::test]
async fn others_name_a_few_relays_on_one_host() {
    let (pool, user) = (alone(100).await, User::new(16));
    let mut open = 0;
    for n in 0..20 {
        for url in [format!("wss://example.org/{n}"), format!("wss://example.org:{}", 2000 + n)] {
            open += usize::from(has_room(pool.open(&url, Origin::Peer, &user.account).await));
        }
    }
    assert_eq!(open, 4);
    assert!(has_room(pool.open("wss://other.example.org", Origin::Peer, &user.account).await));
    assert!(has_room(pool.open("wss://example.org/mine", Origin::User, &user.account).await));
}

#[cfg(unix)]
#[test]
fn half_of_the_files_are_connections_at_most() {
    let files = std::process::Command::new("sh").args(["-c", "ulimit -n"]).output().unwrap();
    let files = String::from_utf8(files.stdout).unwrap().trim().parse().unwrap_or(usize::MAX);
    assert_eq!(PoolOptions::default().max_connections, (files / 2).min(1024));
}
