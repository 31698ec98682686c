# artistid on a CPU: docker build -t artistid . && docker run --rm -v artistid-cache:/cache artistid doctor
#
# For a GPU: give FROM an image with NVIDIA's runtime libraries and Python 3.11 to 3.13, leave out TORCH_INDEX, so that
# the default wheels of torch come with CUDA, and run with --gpus all.
FROM python:3.12-slim

# An index of torch's wheels for CPUs alone, which are smaller; without it the default wheels are installed.
ARG TORCH_INDEX=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN if [ -n "$TORCH_INDEX" ]; then \
      pip install --index-url "$TORCH_INDEX" "torch>=2.11,<2.12" "torchaudio>=2.11,<2.12"; \
    fi

COPY pyproject.toml README.md LICENSE /src/
COPY artistid /src/artistid
COPY conf /src/conf
RUN pip install "/src[app,export]" && rm -rf /src

# Nothing runs as root: uploads and strangers' files are decoded in here.
RUN useradd --create-home artistid && mkdir /cache && chown artistid /cache
USER artistid
WORKDIR /home/artistid
ENV ARTISTID_CACHE=/cache
VOLUME ["/cache"]
EXPOSE 7860
ENTRYPOINT ["artistid"]
CMD ["--help"]
