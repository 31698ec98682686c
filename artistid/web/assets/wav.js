// Sound as a WAV file: 16 bits, mono.

const RATE = 32000;  // Hz, of what the browser decodes: the server resamples from there

export function wavOf(blocks, rate) {
  const length = blocks.reduce((sum, block) => sum + block.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * length));
  const text = (at, letters) => [...letters].forEach((letter, place) => view.setUint8(at + place, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);  // bytes of what follows up to "data"
  view.setUint16(20, 1, true);  // PCM
  view.setUint16(22, 1, true);  // channel
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);  // bytes a second
  view.setUint16(32, 2, true);  // bytes a sample of all channels
  view.setUint16(34, 16, true);  // bits
  text(36, "data");
  view.setUint32(40, 2 * length, true);
  let at = 44;
  for (const block of blocks) {
    for (const sample of block) {
      view.setInt16(at, Math.round(32767 * Math.max(-1, Math.min(1, sample))), true);
      at += 2;
    }
  }
  return new Blob([view], {type: "audio/wav"});
}

// A file of any kind that the browser can decode; null where it cannot.
export async function asWav(file) {
  try {
    const decoded = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await file.arrayBuffer());
    const mono = new Float32Array(decoded.length);
    for (let channel = 0; channel < decoded.numberOfChannels; channel += 1) {
      decoded.getChannelData(channel).forEach((sample, place) => { mono[place] += sample / decoded.numberOfChannels; });
    }
    return wavOf([mono], RATE);
  } catch {
    return null;
  }
}
