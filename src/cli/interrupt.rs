//! The signals that end a command early, so that nothing of it is left.

use std::io;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Listens for requests to end, from when it is made to the end of the command: between two runs too.
pub struct Interrupts {
    pub runtime: Runtime,
    asked: watch::Receiver<bool>,
}

impl Interrupts {
    pub fn listen() -> io::Result<Self> {
        let runtime = Runtime::new()?;
        let (tell, asked) = watch::channel(false);
        let interrupted = {
            let _inside = runtime.enter();
            interrupted()?
        };
        runtime.spawn(async move {
            interrupted.await;
            tell.send_replace(true);
        });
        Ok(Self { runtime, asked })
    }

    /// Whether this process has been asked to end.
    pub fn asked(&self) -> bool {
        *self.asked.borrow()
    }

    /// Is over when it is.
    pub async fn wait(&self) {
        if self.asked.clone().wait_for(|asked| *asked).await.is_err() {
            // Who listens has ended without being asked, which it never does.
            std::future::pending().await
        }
    }
}

/// What is over when this process has been asked to end: by Ctrl-C (SIGINT), Ctrl-\ (SIGQUIT), SIGTERM, or the
/// end of its terminal (SIGHUP), unless it was told to outlive that, as `nohup` does.
///
/// From the call on these signals end nothing by themselves.
fn interrupted() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let outlives = is_ignored(libc::SIGHUP);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = match outlives {
        true => None,
        false => Some(signal(SignalKind::hangup())?),
    };
    Ok(async move {
        let hung_up = async {
            match &mut hang_up {
                Some(hang_up) => {
                    hang_up.recv().await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = quit.recv() => {}
            _ = terminate.recv() => {}
            () = hung_up => {}
        }
    })
}

fn is_ignored(number: libc::c_int) -> bool {
    // SAFETY: all zeros is a `sigaction`, and with no new one given sigaction(2) writes the old one only.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        libc::sigaction(number, std::ptr::null(), &mut old) == 0
            && old.sa_sigaction == libc::SIG_IGN
    }
}
