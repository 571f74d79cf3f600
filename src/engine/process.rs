//! One child in its own PID and mount namespaces, which cannot outlive this process.
//!
//! Between us and the child stands a keeper: a fork that only waits. The kernel kills the keeper when
//! we die and the child when the keeper dies, and with the child, as its namespace's init, goes every
//! process and mount inside. "When we die" means the thread that forked, so all forks come from one
//! thread that lives as long as the process.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

/// The init of a namespace and the keeper that waits for it.
#[derive(Debug)]
pub struct Contained {
    keeper: Child,
    init: libc::pid_t,
}

type Job = (Command, mpsc::Sender<io::Result<Child>>);

/// Starts `command` as the init of new PID and mount namespaces; its host pid is left in `pid_file`.
pub fn spawn(mut command: Command, pid_file: &Path) -> io::Result<Contained> {
    let file = File::create(pid_file)?;
    let descriptor = file.as_raw_fd();
    // SAFETY: the closure only makes async-signal-safe system calls, and allocates nothing.
    unsafe { command.pre_exec(move || become_contained(descriptor)) };
    let (reply, answer) = mpsc::channel();
    spawner()
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
        .send((command, reply))
        .map_err(|_| io::Error::other("the spawning thread is gone"))?;
    let mut keeper =
        answer.recv().map_err(|_| io::Error::other("the spawning thread is gone"))??;
    match read_pid(pid_file) {
        Ok(init) => Ok(Contained { keeper, init }),
        Err(error) => {
            let _ = keeper.kill();
            let _ = keeper.wait();
            Err(error)
        }
    }
}

impl Contained {
    /// The init's pid, as seen from outside.
    pub fn init(&self) -> libc::pid_t {
        self.init
    }

    /// Asks the init to end, and waits at most `patience`; says whether it did.
    pub fn terminate(&mut self, patience: Duration) -> io::Result<bool> {
        signal(self.init, libc::SIGTERM);
        let since = Instant::now();
        while since.elapsed() < patience {
            if self.ended()?.is_some() {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(false)
    }

    /// Kills everything in the namespace; returns once the kernel has taken all of it away.
    pub fn kill(&mut self) {
        if let Ok(None) = self.keeper.try_wait() {
            // The keeper has not been waited for, so neither pid can have been given to another.
            signal(self.init, libc::SIGKILL);
            let _ = self.keeper.wait();
        }
    }

    /// How the init ended, if it has.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.keeper.try_wait()
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal; a process that is already gone is no error.
pub(crate) fn signal(pid: libc::pid_t, signal: libc::c_int) {
    // SAFETY: kill(2) touches no memory of ours.
    unsafe { libc::kill(pid, signal) };
}

fn read_pid(pid_file: &Path) -> io::Result<libc::pid_t> {
    let since = Instant::now();
    loop {
        let text = std::fs::read_to_string(pid_file)?;
        if let Some(Ok(pid)) = text.strip_suffix('\n').map(str::parse) {
            return Ok(pid);
        }
        if since.elapsed() > Duration::from_secs(5) {
            return Err(io::Error::other("the keeper did not say its child's pid"));
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}

fn spawner() -> &'static Mutex<mpsc::Sender<Job>> {
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Job>>> = OnceLock::new();
    SPAWNER.get_or_init(|| {
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("engine-spawner".to_owned())
            .spawn(move || {
                for (mut command, reply) in queue {
                    let _ = reply.send(command.spawn());
                }
            })
            .expect("a thread can be started");
        Mutex::new(jobs)
    })
}

/// Runs in the forked child, before exec.
fn become_contained(pid_file: libc::c_int) -> io::Result<()> {
    // SAFETY: system calls only, on descriptors and constants; no allocation, no locks.
    unsafe {
        let parent = libc::getppid();
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        if libc::getppid() != parent {
            libc::_exit(1);
        }
        // A terminal's interrupt goes to the whole group; the engine ends when its owner says so.
        check(libc::setsid())?;
        check(libc::unshare(libc::CLONE_NEWPID | libc::CLONE_NEWNS))?;
        let init = check(libc::fork())?;
        if init > 0 {
            keep(init, pid_file);
        }
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        // A keeper killed in the instant before that call leaves an init that the sweep ends.
        let slave = libc::MS_REC | libc::MS_SLAVE;
        let nothing = std::ptr::null::<libc::c_char>();
        check(libc::mount(nothing, c"/".as_ptr(), nothing, slave, nothing.cast()))?;
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        let proc = c"proc".as_ptr();
        check(libc::mount(proc, c"/proc".as_ptr(), proc, flags, nothing.cast()))?;
        // dockerd uses a containerd that it finds here, which would be the machine's own, and shims
        // leave their sockets here. Where the directory does not exist there is nothing to hide.
        let tmpfs = c"tmpfs".as_ptr();
        libc::mount(tmpfs, c"/run/containerd".as_ptr(), tmpfs, 0, nothing.cast());
    }
    Ok(())
}

/// The keeper: writes down the init's pid, waits for it, and ends as it ended.
///
/// # Safety
/// Only in a freshly forked child.
unsafe fn keep(init: libc::pid_t, pid_file: libc::c_int) -> ! {
    let mut text = [0u8; 12];
    let mut start = text.len() - 1;
    text[start] = b'\n';
    let mut rest = init;
    while rest > 0 {
        start -= 1;
        text[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    // SAFETY: system calls only. Closing all descriptors lets `spawn` see the exec succeed.
    unsafe {
        libc::write(pid_file, text[start..].as_ptr().cast(), text.len() - start);
        libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0);
        let mut status = 0;
        while libc::waitpid(init, &mut status, 0) == -1 {}
        if libc::WIFEXITED(status) {
            libc::_exit(libc::WEXITSTATUS(status));
        }
        libc::_exit(128 + libc::WTERMSIG(status));
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Detaches whatever is still mounted below `directory`, innermost first.
pub(crate) fn unmount_below(directory: &Path) {
    let Ok(table) = std::fs::read_to_string("/proc/self/mountinfo") else { return };
    let mut points: Vec<&str> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| Path::new(point).starts_with(directory))
        .collect();
    points.sort_by_key(|point| std::cmp::Reverse(point.len()));
    for point in points {
        if let Ok(point) = CString::new(point) {
            // SAFETY: `point` is a NUL-terminated string that outlives the call.
            unsafe { libc::umount2(point.as_ptr(), libc::MNT_DETACH) };
        }
    }
}
