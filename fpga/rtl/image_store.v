// SPDX-License-Identifier: Apache-2.0
//
// Holds an image, and streams it into the network as often as asked: a beat each clock while
// tready is high, image after image. `blank` images are all zeros and leave the stored one alone.
//
// The identity block of the build stands below the image, at addresses 1 to IDENTITY_BYTES of the
// same block RAM, which would be half empty otherwise: a small FPGA has few of them.
//
// Bytes are written in order; byte b of a beat is in bank b. Nothing is written while an image that
// is not blank streams, nor is the identity read while any does: the user sees to that.

`default_nettype none

module image_store #(
    parameter IMAGE_BYTES    = 784,  // a multiple of BEAT_BYTES
    parameter BEAT_BYTES     = 1,    // bytes a beat
    parameter IDENTITY_FILE  = "",   // path of the identity block, a byte in hex a line
    parameter IDENTITY_BYTES = 66,   // bytes of it
    parameter IDENTITY_WIDTH = $clog2(IDENTITY_BYTES + 1)
) (
    input  wire                      clk,
    input  wire                      rst,
    input  wire                      rewind,         // the next byte written is the first one
    input  wire                      write,
    input  wire [7:0]                write_data,
    input  wire [IDENTITY_WIDTH-1:0] identity_addr,  // from 1
    output wire [7:0]                identity_data,  // two clocks later
    input  wire                      start,          // for one clock
    input  wire                      stop,           // give up, at once
    input  wire                      blank,
    input  wire                      single,         // one image; else so many:
    input  wire [15:0]               images,         // at least 1
    output wire [8*BEAT_BYTES-1:0]   m_axis_tdata,
    output wire                      m_axis_tlast,
    output wire                      m_axis_tvalid,
    input  wire                      m_axis_tready
);

    localparam FIRST      = IDENTITY_BYTES + 1;
    localparam DEPTH      = FIRST + IMAGE_BYTES / BEAT_BYTES;
    localparam LAST       = DEPTH - 1;
    localparam ADDR_WIDTH = $clog2(DEPTH);
    localparam LANE_WIDTH = (BEAT_BYTES > 1) ? $clog2(BEAT_BYTES) : 1;
    localparam LANE_LAST  = BEAT_BYTES - 1;

    generate
        if (IMAGE_BYTES % BEAT_BYTES != 0) begin : gen_bad_beat
            error_BEAT_BYTES_must_divide_IMAGE_BYTES error();
        end
    endgenerate

    reg [ADDR_WIDTH-1:0]   write_addr_reg;
    reg [LANE_WIDTH-1:0]   write_lane_reg;
    reg [ADDR_WIDTH-1:0]   play_addr_reg;
    reg                    playing_reg    = 1'b0;
    reg [15:0]             image_reg;              // number of the one that is read, from 1
    reg                    read_valid_reg = 1'b0;  // the memory's output is a beat
    reg                    read_last_reg;
    reg                    valid_reg      = 1'b0;
    reg                    last_reg;
    reg [8*BEAT_BYTES-1:0] data_reg;

    // Either the output register takes what was read, or both wait.
    wire load = !valid_reg || m_axis_tready;
    wire read = !read_valid_reg || load;
    wire last = play_addr_reg == LAST[ADDR_WIDTH-1:0];

    reg  [ADDR_WIDTH-1:0]   read_addr;
    wire [8*BEAT_BYTES-1:0] word;

    // Not straight from the memory, whose output is late.
    assign identity_data = data_reg[7:0];
    assign m_axis_tdata  = data_reg;
    assign m_axis_tlast  = last_reg;
    assign m_axis_tvalid = valid_reg;

    always @* begin
        read_addr = 0;
        read_addr[IDENTITY_WIDTH-1:0] = identity_addr;
        if (playing_reg)
            read_addr = play_addr_reg;
    end

    genvar b;
    generate
        for (b = 0; b < BEAT_BYTES; b = b + 1) begin : gen_bank
            localparam BANK = b;
            (* no_rw_check *)
            reg [7:0] memory [0:DEPTH-1];
            reg [7:0] byte_reg;
            if (BANK == 0 && IDENTITY_FILE != "") begin : gen_identity
                initial $readmemh(IDENTITY_FILE, memory, 1, IDENTITY_BYTES);
            end
            always @(posedge clk) begin
                if (write && write_lane_reg == BANK[LANE_WIDTH-1:0])
                    memory[write_addr_reg] <= write_data;
                if (read)
                    byte_reg <= memory[read_addr];
            end
            assign word[8*b +: 8] = byte_reg;
        end
    endgenerate

    always @(posedge clk) begin
        if (rewind) begin
            write_addr_reg <= FIRST[ADDR_WIDTH-1:0];
            write_lane_reg <= 0;
        end else if (write) begin
            if (write_lane_reg == LANE_LAST[LANE_WIDTH-1:0]) begin
                write_lane_reg <= 0;
                write_addr_reg <= write_addr_reg + 1'b1;
            end else begin
                write_lane_reg <= write_lane_reg + 1'b1;
            end
        end

        if (load) begin
            valid_reg <= read_valid_reg;
            last_reg  <= read_last_reg;
            data_reg  <= blank ? {8*BEAT_BYTES{1'b0}} : word;
        end
        if (read) begin
            read_valid_reg <= playing_reg;
            read_last_reg  <= last;
            if (playing_reg) begin
                play_addr_reg <= last ? FIRST[ADDR_WIDTH-1:0] : play_addr_reg + 1'b1;
                if (last) begin
                    image_reg   <= image_reg + 1'b1;
                    playing_reg <= !single && image_reg != images;
                end
            end
        end
        if (start) begin
            playing_reg   <= 1'b1;
            image_reg     <= 1;
            play_addr_reg <= FIRST[ADDR_WIDTH-1:0];
        end

        if (rst || stop) begin
            playing_reg    <= 1'b0;
            read_valid_reg <= 1'b0;
            valid_reg      <= 1'b0;
        end
    end

endmodule

`default_nettype wire
