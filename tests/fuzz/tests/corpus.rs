//! Replays the corpus of every target, and mutations of it from a fixed seed.

use std::path::PathBuf;

use darktower_fuzz::{Run, TARGETS};

/// Small, fast and the same everywhere (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound.max(1)
    }
}

/// One to four changes of the kinds that find the most: bits, odd bytes, cuts, repeats, and other seeds' tails.
fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(input.len().max(1));
        match random.below(7) {
            0 if !input.is_empty() => input[at] ^= 1 << random.below(8),
            1 if !input.is_empty() => {
                input[at] = [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff][random.below(8)]
            }
            2 if !input.is_empty() => input[at] = random.next() as u8,
            3 => input.truncate(at),
            4 => input.insert(at.min(input.len()), random.next() as u8),
            5 if !input.is_empty() => {
                let until = (at + 1 + random.below(16)).min(input.len());
                let piece = input[at..until].to_vec();
                input.splice(at..at, piece);
            }
            _ => {
                let other = &seeds[random.below(seeds.len())];
                input.truncate(at);
                input.extend_from_slice(&other[random.below(other.len())..]);
            }
        }
    }
    input.truncate(4096);
    input
}

fn replay(name: &str, mutations: u64) {
    let run: Run = TARGETS
        .iter()
        .find(|(target, _)| *target == name)
        .map(|(_, run)| *run)
        .expect("a target of this name");
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("a corpus")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let mut seeds = Vec::new();
    for path in files {
        let input = std::fs::read(&path).expect("a seed");
        attempt(&path.display().to_string(), run, &input);
        seeds.push(input);
    }
    assert!(!seeds.is_empty(), "the corpus of {name} is empty");
    for seed in 1..=mutations {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let input = mutate(&mut random, &seeds);
        attempt(&format!("mutation {seed} of {name}"), run, &input);
    }
}

/// A failure prints the input, ready to become a seed.
fn attempt(what: &str, run: Run, input: &[u8]) {
    if let Err(panic) = std::panic::catch_unwind(|| run(input)) {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        let reason = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or_default();
        panic!("{what}: {reason}\ninput: {hex}");
    }
}

macro_rules! corpora {
    ($($test:ident $name:literal $mutations:literal)*) => {
        $(#[test]
        fn $test() {
            replay($name, $mutations);
        })*

        #[test]
        fn every_target_has_a_corpus() {
            let named: Vec<&str> = vec![$($name),*];
            let targets: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(named, targets);
        }
    };
}

// Mutations by what one run costs: those that reach a key pair or a signature are a hundred times dearer.
corpora! {
    corpus_of_access "access" 3000
    corpus_of_commits "commits" 150
    corpus_of_control "control" 4000
    corpus_of_media "media" 4000
    corpus_of_mls "mls" 300
    corpus_of_names "names" 4000
    corpus_of_participant "participant" 400
    corpus_of_sframe "sframe" 2000
    corpus_of_signal "signal" 4000
}
