//! How processes of one user on one machine find out that one of them has memory that others want,
//! and hand it over.
//!
//! Whoever binds a name among Linux's abstract sockets first is to make the memory; everybody else
//! who asks by that name waits for it and gets a descriptor. Such names vanish with the process that
//! bound them, so there are no files to be left over and no locks to be stale. Who was handed the
//! memory waits for the end of who handed it over, and takes the name over.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Buf;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::geteuid;

/// How long a process waits for another one that is making the memory: longer than it takes to
/// read models from a slow disk.
const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks at a process that is about to listen, or to end.
const PAUSE: Duration = Duration::from_millis(5);

/// Between two looks at a process that is making the memory.
const LOOK: Duration = Duration::from_millis(200);

/// What is handed over.
pub struct Memory {
    pub descriptor: OwnedFd,
    pub bytes: u64,
    /// Tells one such memory from another of the same name.
    id: u64,
}

impl Memory {
    pub fn new(descriptor: OwnedFd, bytes: u64) -> Self {
        use std::hash::{BuildHasher, RandomState};
        Self { descriptor, bytes, id: RandomState::new().hash_one(bytes) }
    }
}

/// What there is under a name.
pub enum Found {
    /// Nothing: it is for this process to make it.
    Nobody(Claim),
    /// Another process has it.
    Held(Memory, Holder),
}

/// The right to make what others wait for. Dropped, the next one has it.
pub struct Claim {
    name: String,
    listener: UnixListener,
}

/// The process that has it, as long as the connection stands.
pub struct Holder {
    name: String,
    stream: UnixStream,
}

/// Hands memory to whoever asks, until it is dropped.
pub struct Offer {
    /// Its end tells the thread.
    _stop: UnixStream,
}

/// Looks for memory by a name of at most 107 bytes; waits while another process makes it.
///
/// # Errors
/// The name belongs to another user; its holder does not answer in time; the system's own.
pub fn find(name: &str) -> io::Result<Found> {
    find_within(name, PATIENCE)
}

fn find_within(name: &str, patience: Duration) -> io::Result<Found> {
    let address = SocketAddr::from_abstract_name(name)?;
    let until = Instant::now() + patience;
    while Instant::now() < until {
        match UnixListener::bind_addr(&address) {
            Ok(listener) => return Ok(Found::Nobody(Claim { name: name.into(), listener })),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
        match UnixStream::connect_addr(&address).and_then(|stream| ask(stream, patience)) {
            Ok((memory, stream)) => {
                return Ok(Found::Held(memory, Holder { name: name.into(), stream }));
            }
            // It does not listen yet, gave up, or ended.
            Err(error) if is_gone(&error) => thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, SILENT))
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | BrokenPipe | UnexpectedEof)
}

fn ask(stream: UnixStream, patience: Duration) -> io::Result<(Memory, UnixStream)> {
    let holder = our_peer(&stream)?;
    let until = Instant::now() + patience;
    while !wait(&[stream.as_fd()], Some(LOOK.min(patience)))?[0] {
        let given_up = |why: &str| Err(io::Error::new(io::ErrorKind::TimedOut, why));
        if is_stopped(holder) {
            return given_up("the process that has it is stopped");
        }
        if Instant::now() >= until {
            return given_up(SILENT);
        }
    }
    Ok((receive(&stream)?, stream))
}

const SILENT: &str = "the process that has it does not answer";

/// The process at the other end, 0 where it cannot be seen from here. Anybody can bind an abstract
/// name or connect to it: it must be this user's.
fn our_peer(stream: &UnixStream) -> io::Result<i32> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut size = size_of::<libc::ucred>() as libc::socklen_t;
    #[allow(unsafe_code, reason = "no crate here asks for it and allows for 0 as a process")]
    // SAFETY: the system writes as many bytes as `size` says.
    let answer = unsafe {
        let (socket, option) = (stream.as_raw_fd(), libc::SO_PEERCRED);
        libc::getsockopt(socket, libc::SOL_SOCKET, option, (&raw mut peer).cast(), &raw mut size)
    };
    match answer {
        0 if peer.uid == geteuid().as_raw() => Ok(peer.pid),
        0 => {
            let why = "another user's process has its name";
            Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether somebody has stopped a process, who may never let it go on.
fn is_stopped(process: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The state follows the name, which may hold anything.
    status.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['T', 't']))
}

fn send(stream: &UnixStream, memory: &Memory) -> io::Result<()> {
    let message = [memory.id.to_le_bytes(), memory.bytes.to_le_bytes()].concat();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut descriptors = SendAncillaryBuffer::new(&mut space);
    let descriptor = [memory.descriptor.as_fd()];
    descriptors.push(SendAncillaryMessage::ScmRights(&descriptor));
    let sent = sendmsg(
        stream,
        &[io::IoSlice::new(&message)],
        &mut descriptors,
        SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
    )?;
    if sent == message.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

fn receive(stream: &UnixStream) -> io::Result<Memory> {
    let mut message = [0u8; 16];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut descriptors = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [io::IoSliceMut::new(&mut message)];
    let received = recvmsg(stream, &mut parts, &mut descriptors, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let descriptor = descriptors.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    match descriptor {
        Some(descriptor) if received.bytes == message.len() => {
            let mut numbers = &message[..];
            let (id, bytes) = (numbers.get_u64_le(), numbers.get_u64_le());
            Ok(Memory { descriptor, bytes, id })
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "an answer that is none")),
    }
}

impl Claim {
    /// Offers what was made to those who wait and to those who will come.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn offer(self, memory: Memory) -> io::Result<Offer> {
        let Self { name, listener } = self;
        Offer::start(name, memory, Place::First { listener, given: Vec::new() })
    }
}

impl Holder {
    /// Offers the memory once its holder has ended.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn stand_by(self, memory: Memory) -> io::Result<Offer> {
        let Self { name, stream } = self;
        Offer::start(name, memory, Place::Behind(stream))
    }
}

impl Offer {
    fn start(name: String, memory: Memory, place: Place) -> io::Result<Self> {
        let (stop, stopped) = UnixStream::pair()?;
        let keep = move || {
            let mut place = Some(place);
            while let Some(now) = place {
                // What fails here costs others some memory, and nobody a picture.
                place = now.next(&name, &memory, &stopped).unwrap_or_default();
            }
        };
        thread::Builder::new().name("weights".into()).spawn(keep)?;
        Ok(Self { _stop: stop })
    }
}

enum Place {
    /// Has the name. `given` are those who got the memory: they take its end for ours.
    First { listener: UnixListener, given: Vec<UnixStream> },
    /// Got it from the process at the other end.
    Behind(UnixStream),
}

impl Place {
    /// Waits for something to happen and deals with it; none at the end of the offer.
    fn next(self, name: &str, memory: &Memory, stopped: &UnixStream) -> io::Result<Option<Self>> {
        match self {
            Self::Behind(holder) => {
                if wait(&[stopped.as_fd(), holder.as_fd()], None)?[0] {
                    return Ok(None);
                }
                Ok(match find(name)? {
                    Found::Nobody(Claim { listener, .. }) => {
                        Some(Self::First { listener, given: Vec::new() })
                    }
                    // Another one that got it was quicker.
                    Found::Held(theirs, holder) if theirs.id == memory.id => {
                        Some(Self::Behind(holder.stream))
                    }
                    Found::Held(..) => None,
                })
            }
            Self::First { listener, mut given } => {
                let ends = given.iter().map(AsFd::as_fd);
                let all = [stopped.as_fd(), listener.as_fd()].into_iter().chain(ends);
                let ready = wait(&all.collect::<Vec<_>>(), None)?;
                if ready[0] {
                    return Ok(None);
                }
                // They say nothing: it is their end.
                let mut ended = ready[2..].iter();
                given.retain(|_| ended.next() != Some(&true));
                if ready[1] {
                    let (stream, _) = listener.accept()?;
                    if our_peer(&stream).and_then(|_| send(&stream, memory)).is_ok() {
                        given.push(stream);
                    }
                }
                Ok(Some(Self::First { listener, given }))
            }
        }
    }
}

/// Waits until one of them can be read or has ended, or for so long, and says which.
fn wait(all: &[BorrowedFd], longest: Option<Duration>) -> io::Result<Vec<bool>> {
    let longest = longest.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
    let mut all: Vec<PollFd> = all.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    loop {
        match poll(&mut all, longest.as_ref()) {
            Ok(_) => return Ok(all.iter().map(|fd| !fd.revents().is_empty()).collect()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{Read, Seek, Write};

    use rustix::fs::{MemfdFlags, memfd_create};

    use super::*;

    /// A name that no other test has.
    pub fn unused(test: &str) -> String {
        format!("vqfarm/test/{}/{test}", std::process::id())
    }

    fn memory(text: &str) -> Memory {
        let mut file = std::fs::File::from(memfd_create("test", MemfdFlags::CLOEXEC).unwrap());
        file.write_all(text.as_bytes()).unwrap();
        Memory::new(file.into(), text.len() as u64)
    }

    fn text(memory: &Memory) -> String {
        let mut file = std::fs::File::from(memory.descriptor.try_clone().unwrap());
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text.len() as u64, memory.bytes);
        text
    }

    fn claim(name: &str) -> Claim {
        match find(name).unwrap() {
            Found::Nobody(claim) => claim,
            Found::Held(..) => panic!("{name} is held"),
        }
    }

    fn held(name: &str) -> (Memory, Holder) {
        match find(name).unwrap() {
            Found::Held(memory, holder) => (memory, holder),
            Found::Nobody(_) => panic!("nobody has {name}"),
        }
    }

    /// Waits until nobody has a name.
    fn wait_until_free(name: &str) {
        let last = Instant::now() + Duration::from_secs(60);
        while let Found::Held(..) = find(name).unwrap() {
            assert!(Instant::now() < last, "somebody still has {name}");
            thread::yield_now();
        }
    }

    #[test]
    fn the_first_makes_it_and_the_others_get_it() {
        let name = unused("first");
        let first = claim(&name);
        thread::scope(|scope| {
            // These wait for the offer.
            let others = [0, 1].map(|_| scope.spawn(|| held(&name)));
            let _offer = first.offer(memory("weights")).unwrap();
            for other in others {
                assert_eq!(text(&other.join().unwrap().0), "weights");
            }
        });
        wait_until_free(&name);
    }

    #[test]
    fn who_waits_for_one_that_gives_up_is_next() {
        let name = unused("gives up");
        let first = claim(&name);
        thread::scope(|scope| {
            let other = scope.spawn(|| claim(&name));
            drop(first);
            let _offer = other.join().unwrap().offer(memory("others")).unwrap();
            assert_eq!(text(&held(&name).0), "others");
        });
    }

    #[test]
    fn who_got_it_offers_it_after_the_holder() {
        let name = unused("after");
        let first = claim(&name).offer(memory("weights")).unwrap();
        let mut others = Vec::new();
        for _ in 0..2 {
            let (memory, holder) = held(&name);
            others.push(holder.stand_by(memory).unwrap());
        }
        let (_, mut holder) = held(&name);
        drop(first);
        assert_eq!(holder.stream.read(&mut [0]).unwrap(), 0, "its end");
        // One of the two takes over, and when either ends the other has it.
        assert_eq!(text(&wait_until_offered(&name)), "weights");
        others.pop();
        assert_eq!(text(&wait_until_offered(&name)), "weights");
        drop(others);
        wait_until_free(&name);
    }

    /// Waits until whoever stands by has the name: until then to ask is to claim it.
    pub fn wait_until_offered(name: &str) -> Memory {
        let last = Instant::now() + Duration::from_secs(60);
        let address = SocketAddr::from_abstract_name(name).unwrap();
        loop {
            if let Ok((memory, _)) =
                UnixStream::connect_addr(&address).and_then(|stream| ask(stream, PATIENCE))
            {
                return memory;
            }
            assert!(Instant::now() < last, "nobody took {name} over");
            thread::yield_now();
        }
    }

    #[test]
    fn answers_that_are_none_are_errors() {
        let name = unused("rubbish");
        let listener =
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let answers: [&[u8]; 3] = [b"x", &[0; 16], &[0xff; 400]];
        for answer in answers {
            thread::scope(|scope| {
                let asking = scope.spawn(|| find(&name).err());
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(answer).unwrap();
                let error = asking.join().unwrap().unwrap();
                assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
            });
        }
        // Nor does one wait for ever for an answer.
        let error = find_within(&name, Duration::from_millis(20)).err().unwrap();
        assert_eq!(error.to_string(), SILENT);
    }

    #[test]
    fn another_user_gets_nothing_and_is_not_believed() {
        if !geteuid().is_root() {
            eprintln!("skipped: only root can be another user");
            return;
        }
        let [ours, theirs] = ["ours", "theirs"].map(unused);
        let _offer = claim(&ours).offer(memory("weights")).unwrap();
        let as_another = || {
            use rustix::process::Uid;
            let (same, nobody) = (Uid::from_raw(u32::MAX), Uid::from_raw(65534));
            // Of this thread alone.
            rustix::thread::set_thread_res_uid(same, nobody, same).unwrap();
            let address = SocketAddr::from_abstract_name(&ours).unwrap();
            let stream = UnixStream::connect_addr(&address).unwrap();
            let refused = receive(&stream).err().unwrap();
            (is_gone(&refused), claim(&theirs))
        };
        let (is_refused, claim) = thread::scope(|scope| scope.spawn(as_another).join().unwrap());
        assert!(is_refused);
        let error = find(&theirs).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        drop(claim);
    }
}
