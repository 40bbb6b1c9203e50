use proptest::prelude::*;

use super::*;

fn header() -> Header {
    Header {
        cluster: "AQEBAQEBAQEBAQEBAQEBAQ".to_owned(),
        lineage: Lineage([1; 16]),
        engine: "slatedb".to_owned(),
        epoch: 7,
        nonce: [2; 16],
        revision: 9,
    }
}

fn write(rows: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &header()).unwrap();
    for (key, value) in rows {
        writer.row(key, value).unwrap();
    }
    writer.finish().unwrap().0
}

fn read(file: &[u8]) -> Result<(Header, Vec<Row>, Content), FileError> {
    let (header, mut reader) = Reader::open(file)?;
    let mut all = Vec::new();
    loop {
        match reader.next()? {
            Block::Rows(rows) => all.extend(rows),
            Block::End(content) => return Ok((header, all, content)),
        }
    }
}

fn small() -> Vec<u8> {
    write(&[
        (vec![1], vec![10, 11]),
        (vec![0x10, 5], vec![]),
        (vec![0x10, 6], vec![12]),
    ])
}

#[test]
fn version_1_is_these_bytes() {
    let file = small();
    let (text, blocks) = file.split_at(file.len() - 90);
    let expected = format!(
        "floe export 1\ncluster AQEBAQEBAQEBAQEBAQEBAQ\nlineage {}\nengine slatedb\nepoch 7\nnonce {}\n\
         revision 9\nrows-version 1\ncrc32c f4495549\n",
        "01".repeat(16),
        "02".repeat(16),
    );
    assert_eq!(String::from_utf8_lossy(text), expected);
    let hex: String = blocks.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        include_str!("../../../../tests/data/export/v1.hex").replace(['\n', ' '], ""),
        "exports of version 1 must stay readable for ever"
    );
}

#[test]
fn a_cut_file_is_refused() {
    let file = small();
    read(&file).unwrap();
    for length in 0..file.len() {
        let error = read(&file[..length]).expect_err("cut");
        assert!(
            matches!(
                error,
                FileError::Cut | FileError::NotExport | FileError::Damaged(_)
            ),
            "{length}: {error}"
        );
    }
    read(&[&file[..], &[0]].concat()).expect_err("longer");
}

#[test]
fn no_flipped_bit_goes_unnoticed() {
    let file = small();
    for bit in 0..file.len() * 8 {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&damaged).is_err(), "bit {bit}");
    }
}

#[test]
fn strangers_and_newer_files_are_refused() {
    let newer = |from: &str, to: &str| {
        let text = header().encode().replace(from, to);
        let lines = text.rsplit_once("crc32c").unwrap().0;
        seal(lines.to_owned()).into_bytes()
    };
    for (file, expected) in [
        (newer("export 1", "export 2"), "has format 2"),
        (newer("rows-version 1", "rows-version 2"), "has format 2"),
        (newer("epoch 7", "epoch x"), "damaged"),
        (
            newer("revision 9", "revision 9\nnews of a later release"),
            "cut short",
        ),
        (b"PK\x03\x04".to_vec(), "no export"),
        (vec![b'x'; 10_000], "no export"),
        (vec![b'\n'; 10_000], "no export"),
    ] {
        let error = read(&file).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn rows_out_of_order_are_refused() {
    for rows in [[[2], [1]], [[1], [1]]] {
        let rows = rows.map(|key| (key.to_vec(), vec![]));
        let error = read(&write(&rows)).unwrap_err().to_string();
        assert!(error.contains("out of order"), "{error}");
    }
}

#[test]
fn large_rows_have_blocks_of_their_own() {
    let rows: Vec<_> = (0..5_u8)
        .map(|key| (vec![key], vec![key; 900_000]))
        .collect();
    let (_, found, content) = read(&write(&rows)).unwrap();
    assert_eq!(found.len(), 5);
    assert_eq!(content.rows, 5);
    let large = vec![(vec![1], vec![7; 5 << 20])];
    assert_eq!(read(&write(&large)).unwrap().1[0].1.len(), 5 << 20);
}

proptest! {
    #[test]
    fn rows_come_back(
        rows: std::collections::BTreeMap<Vec<u8>, Vec<u8>>,
    ) {
        let rows: Vec<_> = rows.into_iter().collect();
        let (found, read, content) = read(&write(&rows)).unwrap();
        prop_assert_eq!(found, header());
        prop_assert_eq!(content.rows, rows.len() as u64);
        let read: Vec<_> = read.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        prop_assert_eq!(read, rows);
    }

    #[test]
    fn any_bytes_are_read_or_refused(blocks: Vec<u8>) {
        let file = [header().encode().as_bytes(), &blocks].concat();
        drop(read(&file));
    }
}
