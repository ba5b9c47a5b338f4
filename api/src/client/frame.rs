//! Server-sent events out of bytes, wherever the bytes are cut.
//!
//! Pure, so that every cut can be tried. Ids and reconnection times are left out: our events carry
//! their ids in their data, and the pause before a new connection is the client's own policy.

/// One event as sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    /// Its name; empty when it has none.
    pub(super) event: String,
    /// Its data, lines joined.
    pub(super) data: String,
}

/// An event that is larger than any of ours: an answer of something else, which must not fill the
/// memory.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// A warning with all its causes is a few KiB, and so is the progress of a thousand views.
pub(super) const BYTES_MAX: usize = 1 << 20;

/// Puts frames together.
///
/// # Source
/// HTML, 9.2.6 "Interpreting an event stream":
/// <https://html.spec.whatwg.org/multipage/server-sent-events.html>.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    line: Vec<u8>,
    frame: Frame,
    has_data: bool,
    /// The last line ended with a carriage return, which a line feed may belong to.
    after_return: bool,
    /// The mark of byte order may stand before the first line alone.
    begun: bool,
}

impl Decoder {
    /// Takes the next bytes and returns the frames that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, TooLarge> {
        let mut frames = Vec::new();
        for &byte in bytes {
            let belongs = std::mem::take(&mut self.after_return) && byte == b'\n';
            if belongs {
                continue;
            }
            match byte {
                b'\n' | b'\r' => {
                    self.after_return = byte == b'\r';
                    frames.extend(self.end_line());
                }
                _ => self.line.push(byte),
            }
            if self.line.len() + self.frame.data.len() > BYTES_MAX {
                return Err(TooLarge);
            }
        }
        Ok(frames)
    }

    fn end_line(&mut self) -> Option<Frame> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let is_first = !std::mem::replace(&mut self.begun, true);
        let line = if is_first { line.trim_start_matches('\u{feff}') } else { &line };
        if line.is_empty() {
            let frame = std::mem::take(&mut self.frame);
            return std::mem::take(&mut self.has_data).then_some(frame);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.frame.event = value.to_owned(),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.frame.data.push('\n');
                }
                self.frame.data.push_str(value);
            }
            // A comment has no name, and what we have no use for is passed over.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(event: &str, data: &str) -> Frame {
        Frame { event: event.to_owned(), data: data.to_owned() }
    }

    const TEXT: &str = "\u{feff}: hello\nid: 7\nevent: run\ndata: {\"a\":\ndata:1}\n\n\
                        event: nothing\n\ndata\n\r\nevent:end\r\ndata:  é\r\rretry: 5\n\n\
                        data: cut off";

    #[test]
    fn frames_are_the_same_wherever_the_bytes_are_cut() {
        let expected = [frame("run", "{\"a\":\n1}"), frame("", ""), frame("end", " é")];
        for size in 1..TEXT.len() {
            let mut decoder = Decoder::default();
            let frames: Vec<Frame> = TEXT
                .as_bytes()
                .chunks(size)
                .flat_map(|bytes| decoder.push(bytes).expect("small"))
                .collect();
            assert_eq!(frames, expected, "pieces of {size}");
        }
    }

    #[test]
    fn an_endless_line_or_event_is_refused() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.push(&vec![b'x'; BYTES_MAX + 1]), Err(TooLarge));
        let mut decoder = Decoder::default();
        let line = format!("data: {}\n", "x".repeat(BYTES_MAX / 3));
        let pushed: Result<Vec<_>, _> = (0..4).map(|_| decoder.push(line.as_bytes())).collect();
        assert_eq!(pushed, Err(TooLarge));
    }
}
