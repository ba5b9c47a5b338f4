//! What callers are told of an error, over whichever protocol.

use api::Code;

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// What a caller is told of what is not the caller's fault; causes may name machines.
pub(crate) fn own_words(code: Code) -> Option<&'static str> {
    match code {
        Code::RegistryUnavailable => {
            Some("Feast's registry could not be read; the server's log says why; come again")
        }
        Code::OnlineStoreUnavailable => {
            Some("the online store did not answer; the server's log says why; come again")
        }
        Code::Internal => {
            Some("the server failed, which is a bug of its own; its log says how: report it")
        }
        _ => None,
    }
}
