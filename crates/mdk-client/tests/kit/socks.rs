//! A SOCKS5 proxy for tests.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// A SOCKS5 proxy (RFC 1928, no authentication) that leads every name to `target`. Remembers what it was asked for.
pub async fn proxy(target: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let log = log.clone();
            tokio::spawn(async move {
                let mut head = [0; 2];
                client.read_exact(&mut head).await?;
                client.read_exact(&mut vec![0; head[1].into()]).await?;
                client.write_all(&[5, 0]).await?;
                let mut request = [0; 5];
                client.read_exact(&mut request).await?;
                let name = match request[3] {
                    3 => {
                        let mut name = vec![0; request[4].into()];
                        client.read_exact(&mut name).await?;
                        String::from_utf8(name).unwrap()
                    }
                    1 => {
                        client.read_exact(&mut [0; 3]).await?;
                        "IPv4".to_owned()
                    }
                    _ => return Ok(()),
                };
                client.read_exact(&mut [0; 2]).await?;
                log.lock().unwrap().push(name);
                client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 80]).await?;
                let mut server = TcpStream::connect(target).await?;
                copy_bidirectional(&mut client, &mut server).await?;
                std::io::Result::Ok(())
            });
        }
    });
    (address, asked)
}
