//! Who may do what: tokens, each with a name and a role.
//!
//! Decides and nothing more: which route needs which role, and how a refusal looks, is the
//! server's. Tokens are kept as their SHA-256, so that whoever reads the file cannot use it. That
//! is enough because a token is drawn at random and long, unlike a password.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::Error;

/// What the header `WWW-Authenticate` says with status 401.
pub const CHALLENGE: &str = "Bearer realm=\"tidegate\"";

const BEARER: &[u8] = b"bearer ";
/// What browsers send once somebody has typed a password.
///
/// # Source
/// RFC 7617: <https://www.rfc-editor.org/rfc/rfc7617>.
const BASIC: &[u8] = b"basic ";
const HASH_BYTES: usize = 32;

/// What a caller may do; each role may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Look at runs, views and plans.
    Read,
    /// Start and stop runs.
    Run,
    /// Everything.
    Admin,
}

impl Role {
    /// The name as written in the token file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Run => "run",
            Self::Admin => "admin",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Read, Self::Run, Self::Admin].into_iter().find(|role| role.as_str() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The SHA-256 of a token, written in hex.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; HASH_BYTES]);

impl TokenHash {
    /// The hash of a token.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Compares in a time that does not depend on how much is alike.
    fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// A text that is no SHA-256 in hex.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have a SHA-256 in hex, 64 digits")]
pub struct ParseHashError;

impl FromStr for TokenHash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        let mut hash = [0; HASH_BYTES];
        if text.len() != 2 * HASH_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseHashError);
        }
        for (at, byte) in hash.iter_mut().enumerate() {
            *byte =
                u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| ParseHashError)?;
        }
        Ok(Self(hash))
    }
}

/// Who is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name of the token, for logs.
    pub name: String,
    /// What it may do.
    pub role: Role,
}

/// Why a caller is turned away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no `Authorization: Bearer …`.
    #[error("a token is needed: send `Authorization: Bearer` and the token")]
    NoToken,
    /// The token is not in the list.
    #[error("the token is not known to this server")]
    UnknownToken,
    /// The token is known, and its role is too small.
    #[error("the token `{name}` has the role `{has}`; this needs `{needs}`")]
    Role {
        /// The token's name.
        name: String,
        /// Its role.
        has: Role,
        /// The role it would take.
        needs: Role,
    },
}

/// Whom a server knows.
#[derive(Clone, Debug)]
pub struct Auth {
    /// Empty when everybody may do everything.
    tokens: Vec<(TokenHash, Caller)>,
}

impl Auth {
    /// Lets everybody do everything, for a server that only this machine can reach.
    ///
    /// # Errors
    /// [`Error::Open`] when the address is not of the loopback interface.
    pub fn none(listen: SocketAddr) -> Result<Self, Error> {
        if listen.ip().to_canonical().is_loopback() {
            Ok(Self { tokens: Vec::new() })
        } else {
            Err(Error::Open { address: listen })
        }
    }

    /// Reads a token file: lines of the form `name role sha256`. Blank lines, and lines that begin
    /// with `#`, are skipped.
    ///
    /// # Errors
    /// [`Error::TokenLine`] for the first line that cannot be used, and [`Error::NoTokens`] when
    /// there is none, because an empty file would lock everybody out.
    pub fn from_text(text: &str) -> Result<Self, Error> {
        let mut tokens: Vec<(TokenHash, Caller)> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let refused = |why: String| Error::TokenLine { line: at + 1, why };
            let (hash, caller) = parse_line(line).map_err(refused)?;
            if tokens.iter().any(|(_, known)| known.name == caller.name) {
                return Err(refused(format!("names `{}` a second time", caller.name)));
            }
            if let Some((_, known)) = tokens.iter().find(|(known, _)| known.is(&hash)) {
                return Err(refused(format!("has the same token as `{}`", known.name)));
            }
            tokens.push((hash, caller));
        }
        if tokens.is_empty() { Err(Error::NoTokens) } else { Ok(Self { tokens }) }
    }

    /// Tells whether everybody may do everything.
    pub fn is_open(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Tells who is calling, by the header `Authorization`: `Bearer` and the token, or `Basic`,
    /// where the password is the token and the name is anything.
    ///
    /// # Errors
    /// [`Denied`] when the caller is not known.
    pub fn caller(&self, authorization: Option<&[u8]>) -> Result<Caller, Denied> {
        if self.tokens.is_empty() {
            return Ok(Caller { name: "anyone".to_owned(), role: Role::Admin });
        }
        let token = authorization.and_then(token).ok_or(Denied::NoToken)?;
        let hash = TokenHash::of(&token);
        // All are looked at, so that the time does not tell which one it was.
        let mut found = None;
        for (known, caller) in &self.tokens {
            if known.is(&hash) {
                found = Some(caller);
            }
        }
        found.cloned().ok_or(Denied::UnknownToken)
    }

    /// Tells who is calling, and that the caller may do what takes the role.
    ///
    /// # Errors
    /// [`Denied`] when the caller is not known, or may not.
    pub fn require(&self, authorization: Option<&[u8]>, needs: Role) -> Result<Caller, Denied> {
        let caller = self.caller(authorization)?;
        if caller.role < needs {
            let Caller { name, role: has } = caller;
            return Err(Denied::Role { name, has, needs });
        }
        Ok(caller)
    }
}

fn parse_line(line: &str) -> Result<(TokenHash, Caller), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [name, role, hash] = words[..] else {
        return Err(format!("has {} words, not `name role sha256`", words.len()));
    };
    let role =
        Role::parse(role).ok_or("must have the role `read`, `run` or `admin` after its name")?;
    let hash = hash.parse().map_err(|error: ParseHashError| error.to_string())?;
    Ok((hash, Caller { name: name.to_owned(), role }))
}

/// The token of a header.
fn token(header: &[u8]) -> Option<Vec<u8>> {
    if let Some(token) = after(header, BEARER) {
        return Some(token.to_vec());
    }
    let credentials = STANDARD.decode(after(header, BASIC)?).ok()?;
    let colon = credentials.iter().position(|&byte| byte == b':')?;
    let password = credentials[colon + 1..].to_vec();
    (!password.is_empty()).then_some(password)
}

/// What follows a scheme, which is written in any case.
fn after<'a>(header: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (found, rest) = header.split_at_checked(scheme.len())?;
    let rest = rest.trim_ascii();
    (found.eq_ignore_ascii_case(scheme) && !rest.is_empty()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth() -> Auth {
        let line = |name: &str, role: Role| {
            format!("{name} {role}\t{}\n", TokenHash::of(format!("token-of-{name}").as_bytes()))
        };
        let (eve, ci, ops) =
            (line("eve", Role::Read), line("ci", Role::Run), line("ops", Role::Admin));
        Auth::from_text(&format!("# callers\n\n{eve}  {ci}{ops}")).expect("three tokens")
    }

    #[test]
    fn a_hash_is_the_one_that_sha256sum_prints() {
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(TokenHash::of(b"abc").to_string(), text);
        assert_eq!(text.to_uppercase().parse(), Ok(TokenHash::of(b"abc")));
        for wrong in ["", "abc", &text[1..], &format!("{text}0"), &text.replace('b', "é")] {
            assert_eq!(wrong.parse::<TokenHash>(), Err(ParseHashError), "{wrong}");
        }
    }

    #[test]
    fn a_role_may_do_what_lesser_roles_may() {
        let auth = auth();
        for (name, role) in [("eve", Role::Read), ("ci", Role::Run), ("ops", Role::Admin)] {
            let header = format!("Bearer token-of-{name}");
            for needs in [Role::Read, Role::Run, Role::Admin] {
                let answer = auth.require(Some(header.as_bytes()), needs);
                if needs <= role {
                    assert_eq!(answer, Ok(Caller { name: name.to_owned(), role }));
                } else {
                    let denied = Denied::Role { name: name.to_owned(), has: role, needs };
                    assert_eq!(answer, Err(denied));
                }
            }
        }
    }

    #[test]
    fn whoever_sends_no_known_token_is_turned_away() {
        let auth = auth();
        for header in [None, Some(""), Some("Bearer"), Some("Bearer "), Some("Basic token-of-ops")]
        {
            assert_eq!(auth.caller(header.map(str::as_bytes)), Err(Denied::NoToken), "{header:?}");
        }
        for header in ["Bearer token-of-eve2", "Bearer Token-of-eve", "Bearer token-of"] {
            assert_eq!(auth.caller(Some(header.as_bytes())), Err(Denied::UnknownToken), "{header}");
        }
        assert!(auth.caller(Some(b"bearer  token-of-eve ")).is_ok());
        // Whoever has read the file has no token by that.
        let hash = format!("Bearer {}", TokenHash::of(b"token-of-ops"));
        assert_eq!(auth.caller(Some(hash.as_bytes())), Err(Denied::UnknownToken));
    }

    #[test]
    fn a_browser_sends_the_token_as_a_password() {
        let auth = auth();
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for text in ["anybody:token-of-eve", ":token-of-eve"] {
            let caller = auth.caller(Some(basic(text).as_bytes()));
            assert_eq!(caller.map(|caller| caller.name), Ok("eve".to_owned()), "{text}");
        }
        for text in ["token-of-eve", "eve:", ""] {
            assert_eq!(auth.caller(Some(basic(text).as_bytes())), Err(Denied::NoToken), "{text}");
        }
        let other = basic("eve:token-of-eve:");
        assert_eq!(auth.caller(Some(other.as_bytes())), Err(Denied::UnknownToken));
    }

    #[test]
    fn without_tokens_only_this_machine_may_call() {
        for address in ["127.0.0.1:80", "127.9.9.9:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            let auth = Auth::none(address.parse().expect(address)).expect(address);
            assert_eq!(auth.caller(None).map(|caller| caller.role), Ok(Role::Admin));
        }
        for address in ["0.0.0.0:8080", "[::]:8080", "10.0.0.1:8080", "192.168.1.2:8080"] {
            let error = Auth::none(address.parse().expect(address)).expect_err(address);
            assert!(error.to_string().contains("listen on `127.0.0.1:8080`"), "{error}");
        }
    }

    #[test]
    fn a_line_that_cannot_be_used_is_named_without_its_hash() {
        let hash = TokenHash::of(b"t").to_string();
        for (text, why) in [
            (String::new(), "names no token"),
            ("# nobody\n".to_owned(), "names no token"),
            (format!("\nci run {hash} x"), "line 2 of the token file has 4 words"),
            (format!("ci write {hash}"), "line 1 of the token file must have the role"),
            (format!("ci run {}", &hash[2..]), "must have a SHA-256 in hex"),
            (format!("a run {hash}\nb run {hash}"), "line 2 of the token file has the same token"),
            (
                format!("a run {hash}\na run {}", TokenHash::of(b"u")),
                "line 2 of the token file names `a` a second time",
            ),
        ] {
            let message = Auth::from_text(&text).expect_err(&text).to_string();
            assert!(message.contains(why), "{message}");
            assert!(!message.contains(&hash[2..]), "{message}");
        }
        let shown = format!("{:?}", Auth::from_text(&format!("a run {hash}")).expect("a token"));
        assert!(!shown.contains(&hash), "{shown}");
    }
}
