// Runs beside the page, in the browser's audio thread: hands on every block of samples, the mean of its channels.

registerProcessor("tap", class extends AudioWorkletProcessor {
  process([channels]) {
    if (channels.length > 0) {
      const mono = new Float32Array(channels[0].length);
      for (const samples of channels) samples.forEach((sample, place) => { mono[place] += sample / channels.length; });
      this.port.postMessage(mono, [mono.buffer]);
    }
    return true;
  }
});
