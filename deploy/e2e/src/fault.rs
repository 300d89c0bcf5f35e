//! `fault`: harm on purpose.

use std::process::ExitCode;

use crate::args::{FaultArgs, FaultVerb};
use crate::boxes::Cluster;
use crate::control::{Fault, Question};

/// Asks the box to do it.
///
/// # Errors
/// The box is not up, or there is no such target.
pub(crate) fn run(args: FaultArgs) -> anyhow::Result<ExitCode> {
    let inside = Cluster::named(&args.name.name)?;
    let (fault, target) = parts(args.fault);
    inside.ask(&Question::Fault { fault, target })?;
    Ok(ExitCode::SUCCESS)
}

fn parts(verb: FaultVerb) -> (Fault, String) {
    match verb {
        FaultVerb::Kill { target } => (Fault::Kill, target),
        FaultVerb::Freeze { target } => (Fault::Freeze, target),
        FaultVerb::Thaw { target } => (Fault::Thaw, target),
        FaultVerb::Blackhole { target } => (Fault::Blackhole, target),
        FaultVerb::Heal { target } => (Fault::Heal, target),
        FaultVerb::Unready { target } => (Fault::Unready, target),
        FaultVerb::Ready { target } => (Fault::Ready, target),
        FaultVerb::Rotate { target } => (Fault::Rotate, target),
        FaultVerb::Stop { target } => (Fault::Stop, target),
        FaultVerb::Start { target } => (Fault::Start, target),
    }
}
