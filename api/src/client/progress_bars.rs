//! Progress on a terminal: a line for the whole pull, then a bar for each layer.

use super::error::ClientError;
use super::model::{LayerProgress, LayerState, PullPhase, PullProgress};
use super::progress::{ProgressView, activity};
use super::text::{Text, printable, short_id, size};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::HashMap;
use std::time::Duration;

/// The bars of one pull. The line for the whole pull is the first, because the end of a tall list does not fit on the
/// screen.
pub(crate) struct Bars {
    all: MultiProgress,
    total: ProgressBar,
    layers: HashMap<Text, ProgressBar>,
    attempt: u32,
    styles: Styles,
}

/// The styles of a line, depending on what is known.
struct Styles {
    waiting: ProgressStyle,
    whole: ProgressStyle,
    layer: ProgressStyle,
    layer_word: ProgressStyle,
}

impl Styles {
    fn new(colour: bool) -> Self {
        let (name, bar, spinner) = if colour {
            (":.bold", ".cyan/dim", ":.cyan")
        } else {
            ("", "", "")
        };
        Self {
            waiting: style(&format!("{{spinner{spinner}}} {{prefix{name}}}  {{msg}}")),
            whole: style(&format!(
                "{{spinner{spinner}}} {{prefix{name}}}  {{wide_bar{}}} {{msg}}",
                if colour { ":.cyan/dim" } else { "" }
            )),
            layer: style(&format!("  {{prefix:12}}  {{bar:24{bar}}}  {{msg}}")),
            layer_word: style("  {prefix:12}  {msg}"),
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates are constants that a test draws")
        .progress_chars("━╸─")
}

impl Bars {
    pub(crate) fn new(target: ProgressDrawTarget, name: &str, colour: bool) -> Self {
        let all = MultiProgress::with_draw_target(target);
        let styles = Styles::new(colour);
        let total = all.add(
            ProgressBar::new(1)
                .with_style(styles.waiting.clone())
                .with_prefix(name.to_owned()),
        );
        total.enable_steady_tick(Duration::from_millis(120));
        Self {
            all,
            total,
            layers: HashMap::new(),
            attempt: 0,
            styles,
        }
    }

    fn show_whole(&self, progress: &PullProgress) {
        let activity = activity(progress);
        let Some(total) = progress
            .total
            .filter(|_| progress.phase == PullPhase::Downloading)
        else {
            self.total.set_style(self.styles.waiting.clone());
            self.total.set_message(activity);
            return;
        };
        let present = progress
            .downloaded
            .saturating_add(progress.reused)
            .min(total);
        let mut message = format!("{} / {}", size(present), size(total));
        if let Some(rate) = progress.bytes_per_second {
            message.extend(["  ", &size(rate), "/s"]);
        }
        if let Some(seconds) = progress.remaining_seconds {
            message.extend(["  ", &duration(seconds), " left"]);
        }
        self.total.set_style(self.styles.whole.clone());
        self.total.set_length(total);
        self.total.set_position(present);
        self.total.set_message(message);
    }

    fn show_layer(&mut self, layer: &LayerProgress) {
        let bar = self.layers.entry(layer.id.clone()).or_insert_with(|| {
            self.all
                .add(ProgressBar::new(1).with_prefix(short_id(&layer.id)))
        });
        let of_total = layer
            .total
            .map(|total| format!("  {}", size(total)))
            .unwrap_or_default();
        let (style, message) = match (&layer.state, layer.total) {
            (LayerState::Downloading, Some(total)) => {
                bar.set_length(total);
                bar.set_position(layer.downloaded.min(total));
                (
                    &self.styles.layer,
                    format!("{} / {}", size(layer.downloaded), size(total)),
                )
            }
            (LayerState::Downloading, None) => (
                &self.styles.layer_word,
                format!("downloading  {}", size(layer.downloaded)),
            ),
            (LayerState::Reused, _) => {
                (&self.styles.layer_word, format!("already there{of_total}"))
            }
            (LayerState::Done, _) => (&self.styles.layer_word, format!("complete{of_total}")),
            (state, _) => (
                &self.styles.layer_word,
                format!("{}{of_total}", state.to_string().to_lowercase()),
            ),
        };
        bar.set_style(style.clone());
        bar.set_message(message);
    }
}

impl ProgressView for Bars {
    fn update(&mut self, progress: &PullProgress) -> Result<(), ClientError> {
        if progress.attempt != self.attempt {
            self.attempt = progress.attempt;
            for (_, bar) in self.layers.drain() {
                self.all.remove(&bar);
            }
        }
        self.show_whole(progress);
        for layer in &progress.layers {
            self.show_layer(layer);
        }
        Ok(())
    }

    fn note(&mut self, note: &str) -> Result<(), ClientError> {
        Ok(self.all.println(printable(note))?)
    }
}

/// Removes the bars, because the result follows.
impl Drop for Bars {
    fn drop(&mut self) {
        self.total.disable_steady_tick();
        for (_, bar) in self.layers.drain() {
            bar.finish_and_clear();
        }
        self.total.finish_and_clear();
    }
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::model::JobState;
    use indicatif::InMemoryTerm;

    #[test]
    fn a_terminal_shows_a_line_for_the_whole_and_a_bar_for_each_layer() {
        let screen = InMemoryTerm::new(20, 90);
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), 255);
        let mut bars = Bars::new(target, "redis:7", false);
        let layer = |id: &str, state, downloaded| LayerProgress {
            id: Text::from(id),
            state,
            downloaded,
            total: Some(2_000_000),
        };
        bars.update(&PullProgress {
            sequence: 1,
            state: JobState::Running,
            phase: PullPhase::Downloading,
            attempt: 1,
            downloaded: 1_000_000,
            total: Some(4_000_000),
            reused: 2_000_000,
            bytes_per_second: Some(500_000),
            remaining_seconds: Some(61),
            layers: vec![
                layer(
                    "sha256:aaaaaaaaaaaaaaaa",
                    LayerState::Downloading,
                    1_000_000,
                ),
                layer("b\u{1b}[2J", LayerState::Reused, 0),
            ],
        })
        .unwrap();
        bars.total.force_draw();
        let shown = screen.contents();
        for expected in [
            "redis:7",
            "3.0 MB / 4.0 MB",
            "500.0 kB/s",
            "1m01s left",
            "aaaaaaaaaaaa ",
            "1.0 MB / 2.0 MB",
            "already there",
        ] {
            assert!(shown.contains(expected), "{expected} is not in:\n{shown}");
        }
        drop(bars);
        assert_eq!(screen.contents(), "");
    }

    #[test]
    fn colour_needs_templates_that_parse_too() {
        drop(Styles::new(true));
    }
}
