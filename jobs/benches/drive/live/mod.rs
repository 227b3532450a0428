//! Ten thousand subscribers of a hundred running pulls on one gateway, beside a bare axum WebSocket broadcast; late
//! joiners; final states, also without Redis; and a storm of reconnecting subscribers after a restart.

mod crowd;
mod faults;
pub(crate) mod floor;
mod line;
mod pulls;

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use sea_orm::DatabaseConnection;
use serde_json::json;
use wharfinger_jobs::live::events::Events;

use crate::Outcome;
use crate::environment::{connect, count, postgres_database, variable};
use crate::footprint::memory;
use crate::gateway::{Client, Installation};
use crate::stats::{Sample, load, milliseconds};
use crowd::Crowd;
use floor::Floor;
use line::Seat;
use pulls::Pull;

/// What a subscriber asks for: about 450 bytes for each event.
const QUERY: &str = "subscription Watch($id: ID!) { pullProgress(jobId: $id) { sequence state phase downloaded total bytesPerSecond \
    remainingSeconds layers { id state downloaded total } } }";

/// Users, each with an equal share of the pulls.
const OWNERS: usize = 10;

/// Changes of one pull in a second.
const RATE: u32 = 4;

/// Late joiners of each kind.
const LATE: usize = 100;

/// Time between two of them.
const PAUSE: Duration = Duration::from_millis(25);

struct Size {
    pulls: usize,
    subscribers: usize,
    seconds: u32,
}

/// What was measured of one server.
struct Figures {
    p99: f64,
    kilobytes: f64,
    /// Processor time for each frame that a subscriber read, in microseconds.
    frame: f64,
}

pub(crate) async fn run() -> Outcome {
    let size = Size {
        pulls: count("PULLS", 100),
        subscribers: count("SUBSCRIBERS", 10_000),
        seconds: u32::try_from(count("SECONDS", 20))?,
    };
    println!("load before: {}", load());
    let floor = of_floor(&size).await?;
    let gateway = of_gateway(&size).await?;
    println!("load after:  {}", load());
    println!(
        "p99 ≤ 150 ms {}, ≤ 14 kB a subscriber {}; ratio to the floor: p99 {:.2}, memory {:.2} (≤ 2 {}), CPU a frame {:.2} (≤ 1.15 {})",
        holds(gateway.p99 <= 150.0),
        holds(gateway.kilobytes <= 14.0),
        gateway.p99 / floor.p99,
        gateway.kilobytes / floor.kilobytes,
        holds(gateway.p99 <= 2.0 * floor.p99 && gateway.kilobytes <= 2.0 * floor.kilobytes),
        gateway.frame / floor.frame,
        holds(gateway.frame <= 1.15 * floor.frame),
    );
    Ok(())
}

fn holds(holds: bool) -> &'static str {
    if holds { "holds" } else { "DOES NOT HOLD" }
}

async fn of_floor(size: &Size) -> Outcome<Figures> {
    let mut floor = Floor::start(size.pulls).await?;
    let crowd = Crowd::new(floor.address, size.pulls)?;
    let pid = floor.id()?;
    let before = memory(pid, "VmRSS")?;
    let seats = (0..size.subscribers).map(|number| Seat {
        topic: number % size.pulls,
        path: format!("/{}", number % size.pulls),
        hello: None,
    });
    crowd.join(seats.collect(), None).await?;
    let text = payload();
    let tick = async |topic: usize, sequence: u32| {
        crowd.stats.publishing(topic, sequence);
        let text = text.replace('#', &sequence.to_string());
        floor.tell(topic, &text).await
    };
    let frame = under_load("floor  ", size, &crowd, pid, tick).await?;
    figures("floor  ", size, &crowd, pid, before, frame)
}

/// The text of an event as the gateway sends it, with `#` for its number.
fn payload() -> String {
    let layer = json!({"id": "sha256:000000000000", "state": "DOWNLOADING", "downloaded": "33333433", "total": "1073741824"});
    let progress = format!(
        "{{\"sequence\":#,\"state\":\"RUNNING\",\"phase\":\"DOWNLOADING\",\"downloaded\":\"100000300\",\"total\":\"3221225472\",\
         \"bytesPerSecond\":\"4000012\",\"remainingSeconds\":800,\"layers\":[{layer},{layer},{layer}]}}"
    );
    format!(
        "{{\"type\":\"next\",\"id\":\"1\",\"payload\":{{\"data\":{{\"pullProgress\":{progress}}}}}}}"
    )
}

async fn of_gateway(size: &Size) -> Outcome<Figures> {
    let url = postgres_database().await?;
    let mut installation = Installation::new("unix:///nonexistent")?;
    installation
        .fleet(&url)?
        .set("WHARFINGER_LIMITS__SOCKETS_PER_USER", "0");
    let gateway = installation.serve(&["--no-worker"]).await?;
    let database = connect(&url).await?;
    let events = Events::redis(&variable("WHARFINGER_TEST_REDIS_URL")?, "wharfinger")?;
    let wharf = Wharf::open(&installation, &database, size.pulls).await?;
    let unwatched = Wharf::open(&installation, &database, LATE).await?;

    let address = SocketAddr::from(([127, 0, 0, 1], installation.port));
    let crowd = Crowd::new(address, size.pulls)?;
    // What the first requests load is not the subscribers'.
    for number in 0..wharf.users.len() {
        crowd.late(wharf.seat(number)).await?;
    }
    let pid = gateway.id();
    let before = memory(pid, "VmRSS")?;
    let seats = (0..size.subscribers).map(|number| wharf.seat(number));
    let began = Instant::now();
    crowd.join(seats.collect(), None).await?;
    println!(
        "gateway {} subscribers are live after {:.1} s; Redis has {} connection(s) that subscribe",
        size.subscribers,
        began.elapsed().as_secs_f64(),
        subscribing().await?
    );
    let tick = async |topic: usize, sequence: u32| {
        crowd.stats.publishing(topic, sequence);
        wharf.pulls[topic].progress(&events, sequence);
        Ok(())
    };
    let frame = under_load("gateway", size, &crowd, pid, &tick).await?;
    let figures = figures("gateway", size, &crowd, pid, before, frame)?;
    // After it, under the same load: what they cost is not the cost of a frame.
    let late = tokio::select! {
        late = late(&crowd, &wharf, &unwatched) => late?,
        ended = changes(size, 100_000.., &tick) => return Err(format!("the load ended: {ended:?}").into()),
    };
    for (what, [first, whole]) in ["watched by others", "watched by nobody"].iter().zip(late) {
        println!(
            "gateway late joiner of a pull {what}, subscribe → first event {first} (p99 ≤ 50 ms {})",
            holds(first.quantile(0.99) <= 50.0)
        );
        println!("gateway late joiner of a pull {what}, connect   → first event {whole}");
    }
    faults::end(&wharf, &database, &events, &crowd, size).await?;
    drop(crowd);
    faults::storm(&installation, gateway, &database, &events, size).await?;
    Ok(figures)
}

/// What late joiners wait for their first event, from `subscribe` and from the beginning of their connection: of pulls that
/// others watch, and of pulls that nobody does, whose worker does not answer.
async fn late(crowd: &Crowd, watched: &Wharf, unwatched: &Wharf) -> Outcome<[[Sample; 2]; 2]> {
    let mut times: [[Vec<f64>; 2]; 2] = Default::default();
    tokio::time::sleep(Duration::from_secs(1)).await;
    for number in 0..LATE {
        for (wharf, [first, whole]) in [watched, unwatched].iter().zip(&mut times) {
            let [connected, asked] = crowd.late(wharf.seat(number)).await?;
            whole.push(milliseconds(connected));
            first.push(milliseconds(asked));
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(times.map(|times| times.map(Sample::new)))
}

/// Users with running pulls.
struct Wharf {
    users: Vec<Client>,
    pulls: Vec<Pull>,
}

impl Wharf {
    async fn open(
        installation: &Installation,
        database: &DatabaseConnection,
        pulls: usize,
    ) -> Outcome<Self> {
        let mark = uuid::Uuid::new_v4().simple().to_string();
        let names: Vec<String> = (0..OWNERS)
            .map(|number| format!("bench-{number}-{}", &mark[..8]))
            .collect();
        let users = names
            .iter()
            .map(|name| installation.user(name))
            .collect::<Outcome<_>>()?;
        let mut running = Vec::new();
        for number in 0..pulls {
            let ordinal = i64::try_from(number)? + 1;
            running.push(Pull::running(database, &names[number % OWNERS], ordinal).await?);
        }
        Ok(Self {
            users,
            pulls: running,
        })
    }

    /// A subscriber of one of the pulls: its owner.
    fn seat(&self, number: usize) -> Seat {
        let topic = number % self.pulls.len();
        let token = format!("Bearer {}", self.users[topic % OWNERS].token);
        let init = json!({"type": "connection_init", "payload": {"authorization": token}});
        let payload = json!({"query": QUERY, "variables": {"id": self.pulls[topic].id()}});
        let subscribe = json!({"id": "1", "type": "subscribe", "payload": payload});
        Seat {
            topic,
            path: "/graphql".to_owned(),
            hello: Some([init.to_string(), subscribe.to_string()]),
        }
    }
}

/// Changes every pull a few times a second, one after the other, once for each of these numbers.
async fn changes(
    size: &Size,
    sequences: impl IntoIterator<Item = u32>,
    mut tick: impl AsyncFnMut(usize, u32) -> Outcome,
) -> Outcome {
    let pulls = u32::try_from(size.pulls)?;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / (pulls * RATE));
    for sequence in sequences {
        for topic in 0..size.pulls {
            ticks.tick().await;
            tick(topic, sequence).await?;
        }
    }
    Ok(())
}

/// Changes every pull for a while, and returns the server's processor time for each frame, in microseconds.
#[expect(clippy::cast_precision_loss, reason = "counts")]
async fn under_load(
    name: &str,
    size: &Size,
    crowd: &Crowd,
    pid: u32,
    mut tick: impl AsyncFnMut(usize, u32) -> Outcome,
) -> Outcome<f64> {
    // The first second warms up.
    let first = 2 + RATE;
    changes(size, 2..first, &mut tick).await?;
    crowd.stats.events.store(0, Relaxed);
    crowd.stats.measure(true);
    let (began, before) = (Instant::now(), processor_seconds(pid)?);
    changes(size, first..first + size.seconds * RATE, &mut tick).await?;
    let [user, system] = spent(pid, before)?;
    let cores = (user + system) / began.elapsed().as_secs_f64();
    let all = u64::from(size.seconds * RATE) * u64::try_from(size.subscribers)?;
    // Whatever is on its way may arrive, and counts.
    tokio::time::sleep(Duration::from_secs(1)).await;
    crowd.stats.measure(false);
    let came = crowd.stats.events.load(Relaxed);
    let [user, system] = spent(pid, before)?.map(|seconds| seconds * 1e6 / came as f64);
    println!(
        "{name} {came} events of {all} arrived, {} out of order; {} sockets lost",
        crowd.stats.back.load(Relaxed),
        crowd.stats.lost.load(Relaxed)
    );
    println!(
        "{name} CPU a frame {:.2} µs (user {user:.2}, system {system:.2}); {cores:.2} cores busy",
        user + system
    );
    Ok(user + system)
}

/// The seconds that a process has kept a core busy since `before`: its own, and the system's for it.
fn spent(pid: u32, before: [f64; 2]) -> Outcome<[f64; 2]> {
    let [user, system] = processor_seconds(pid)?;
    Ok([user - before[0], system - before[1]])
}

#[expect(clippy::cast_precision_loss, reason = "counts")]
fn figures(
    name: &str,
    size: &Size,
    crowd: &Crowd,
    pid: u32,
    before: f64,
    frame: f64,
) -> Outcome<Figures> {
    let resident = memory(pid, "VmRSS")?;
    let kilobytes = (resident - before) * 1000.0 / size.subscribers as f64;
    let delay = |share| crowd.stats.delay(share).unwrap_or(f64::NAN);
    println!(
        "{name} event → client p50 {:.1} ms   p90 {:.1} ms   p99 {:.1} ms   most {:.1} ms",
        delay(0.5),
        delay(0.9),
        delay(0.99),
        delay(1.0)
    );
    println!(
        "{name} {kilobytes:.1} kB a subscriber ({before:.1} MB without, {resident:.1} MB with them)"
    );
    Ok(Figures {
        p99: delay(0.99),
        kilobytes,
        frame,
    })
}

/// How many connections to Redis subscribe to anything, this driver's own aside.
async fn subscribing() -> Outcome<usize> {
    let client = redis::Client::open(variable("WHARFINGER_TEST_REDIS_URL")?)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let list: String = redis::cmd("CLIENT")
        .arg("LIST")
        .query_async(&mut connection)
        .await?;
    // Every process hears of gaps; one that watches pulls hears of them too.
    let channels = |line: &str| -> Option<usize> {
        line.split(' ')
            .find_map(|word| word.strip_prefix("sub="))?
            .parse()
            .ok()
    };
    Ok(list
        .lines()
        .filter_map(channels)
        .filter(|channels| *channels > 1)
        .count())
}

/// Seconds that a process has kept a core busy: its own, and the system's for it.
fn processor_seconds(pid: u32) -> Outcome<[f64; 2]> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no such process")?;
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<u32>);
    let mut seconds = || Outcome::Ok(f64::from(ticks.next().ok_or("too few fields")??) / 100.0);
    Ok([seconds()?, seconds()?])
}
