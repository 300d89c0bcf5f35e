//! Asking a running process: one `POST /explain` over a plain connection to its admin address.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};
use ringress_controller::Refused;

use super::explanation::Explanation;
use super::question::Question;

/// How long the process may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most that is read of an answer.
const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What the process behind `admin` says.
///
/// # Errors
/// It cannot be reached, or does not answer as an admin address does.
pub(super) fn ask(admin: SocketAddr, question: &Question) -> anyhow::Result<Result<Explanation, Refused>> {
    let answer = post(admin, "/explain", &serde_json::to_vec(question)?).with_context(|| {
        format!("cannot ask {admin}; is ringress running, and is this its --admin-address?")
    })?;
    match answer {
        Answer::Fine(body) => {
            let value: serde_json::Value = serde_json::from_slice(&body).context("the answer is no JSON")?;
            let explanation = serde_json::from_value(value);
            Ok(Ok(explanation.context("the answer is of another version of ringress")?))
        }
        Answer::Refused(refused) => Ok(Err(refused)),
    }
}

enum Answer {
    Fine(Vec<u8>),
    /// The question is wrong.
    Refused(Refused),
}

fn post(address: SocketAddr, path: &str, body: &[u8]) -> anyhow::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // HTTP/1.0: the answer comes without chunks and ends with the connection.
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").context("the answer is no HTTP")?;
    let status = String::from_utf8_lossy(answer[..end].get(9..12).unwrap_or_default()).into_owned();
    let body = answer.split_off(end + 4);
    match (&*status, refusal(&body)) {
        ("200", _) => Ok(Answer::Fine(body)),
        ("400", Some(refused)) => Ok(Answer::Refused(refused)),
        _ => bail!("it answers {status}: {}", String::from_utf8_lossy(&body).trim_end()),
    }
}

fn refusal(body: &[u8]) -> Option<Refused> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let text = |name| value.get(name)?.as_str().map(str::to_owned);
    Some(Refused { field: text("field")?, message: text("error")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// An admin that answers one request with these bytes; gives what it was asked.
    fn admin(answer: &'static [u8]) -> (SocketAddr, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !request.ends_with(b"}") {
                let count = stream.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..count]);
            }
            stream.write_all(answer).unwrap();
            String::from_utf8(request).unwrap()
        });
        (address, asked)
    }

    fn question() -> Question {
        Question { url: "http://h/".into(), method: "GET".into(), headers: vec![("A".into(), "b".into())] }
    }

    #[test]
    fn the_question_is_sent_as_json_and_an_error_comes_back() {
        let answer = b"HTTP/1.0 400 Bad Request\r\n\r\n{\"field\": \"url\", \"error\": \"no such URL\"}";
        let (address, asked) = admin(answer);
        let refused = Refused { field: "url".into(), message: "no such URL".into() };
        assert_eq!(ask(address, &question()).unwrap(), Err(refused));
        let asked = asked.join().unwrap();
        assert!(asked.starts_with("POST /explain HTTP/1.0\r\n"), "{asked}");
        assert!(asked.ends_with(r#"{"url":"http://h/","method":"GET","headers":[["A","b"]]}"#), "{asked}");
    }

    #[test]
    fn other_statuses_are_told() {
        let (address, _) = admin(b"HTTP/1.0 503 Service Unavailable\r\n\r\nnothing is served yet\n");
        let error = format!("{:#}", ask(address, &question()).unwrap_err());
        assert!(error.contains("503: nothing is served yet"), "{error}");
    }

    #[test]
    fn nobody_there_is_an_error_with_a_next_step() {
        // Bound and dropped: nobody listens on this port.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = format!("{:#}", ask(address, &question()).unwrap_err());
        assert!(error.contains("--admin-address"), "{error}");
    }
}
