// SPDX-License-Identifier: Apache-2.0
//
// A function of one code, from a table: y[c] = table[x[c]], or a table for each channel.
//
// Streams are in raster order, channel fastest, LANES channels of PIXELS pixels a beat in and out; a
// group of pixels takes ceil(CHANNELS / LANES) beats. Each lane of each pixel has a ROM of its own.
// TABLE_FILE holds 256 words of a byte, one for each code; with PER_CHANNEL, 256 words for each beat
// of a group, of a byte for each lane, the first lane's lowest.
// Takes a beat every clock, unless a result waits. Latency: 1 clock, and 1 of axis_fifo.
// Equals model.network.layers.table.Table.

`default_nettype none

module lookup #(
    parameter POSITIONS   = 1,         // pixels an image, a multiple of PIXELS
    parameter CHANNELS    = 1,
    parameter LANES       = CHANNELS,  // channels a beat
    parameter PIXELS      = 1,         // pixels a beat
    parameter PER_CHANNEL = 0,
    parameter FIFO_DEPTH  = 2,         // output beats taken up
    parameter TABLE_FILE  = ""
) (
    input  wire                      clk,
    input  wire                      rst,
    input  wire [8*PIXELS*LANES-1:0] s_axis_tdata,
    input  wire                      s_axis_tvalid,
    output wire                      s_axis_tready,
    output wire [8*PIXELS*LANES-1:0] m_axis_tdata,
    output wire                      m_axis_tlast,
    output wire                      m_axis_tvalid,
    input  wire                      m_axis_tready
);

    localparam GROUPS      = POSITIONS / PIXELS;
    localparam BEATS       = (CHANNELS + LANES - 1) / LANES;  // a group
    localparam GROUP_WIDTH = (GROUPS > 1) ? $clog2(GROUPS) : 1;
    localparam BEAT_WIDTH  = (BEATS > 1) ? $clog2(BEATS) : 1;
    localparam WORD_BYTES  = (PER_CHANNEL != 0) ? LANES : 1;
    localparam TABLES      = (PER_CHANNEL != 0) ? BEATS : 1;
    localparam ADDR_WIDTH  = (TABLES > 1) ? BEAT_WIDTH + 8 : 8;

    // The register behind the ROMs moves or holds; it holds while a result waits for the FIFO.
    reg                       valid_reg = 1'b0;
    reg                       last_reg;
    wire                      ready, last, unused_group_last, unused_beat_last;
    wire                      enable = !valid_reg || ready;
    wire [GROUP_WIDTH-1:0]    unused_group;
    wire [BEAT_WIDTH-1:0]     beat_number;
    wire [8*PIXELS*LANES-1:0] results;

    assign s_axis_tready = enable;

    fold_counter #(
        .GROUPS(GROUPS), .CHUNKS(BEATS)
    ) count (
        .clk(clk), .rst(rst), .step(s_axis_tvalid && enable),
        .group(unused_group), .chunk(beat_number),
        .group_last(unused_group_last), .chunk_last(unused_beat_last), .last(last)
    );

    always @(posedge clk) begin
        if (enable) begin
            valid_reg <= s_axis_tvalid;
            last_reg  <= last;
        end
        if (rst)
            valid_reg <= 1'b0;
    end

    genvar lane;
    generate
        for (lane = 0; lane < PIXELS*LANES; lane = lane + 1) begin : gen_lane
            // With PER_CHANNEL each lane reads whole words; synthesis drops what it does not use.
            localparam BYTE = (PER_CHANNEL != 0) ? lane % LANES : 0;

            (* rom_style = "block" *)
            reg  [8*WORD_BYTES-1:0] memory [0:256*TABLES-1];
            reg  [8*WORD_BYTES-1:0] word_reg;
            wire [ADDR_WIDTH-1:0]   addr;
            wire                    unused = &{1'b0, word_reg};

            if (TABLE_FILE != "") begin : gen_contents
                initial $readmemh(TABLE_FILE, memory);
            end else begin : gen_empty
                integer i;
                initial
                    for (i = 0; i < 256*TABLES; i = i + 1)
                        memory[i] = {8*WORD_BYTES{1'b0}};
            end

            if (TABLES > 1) begin : gen_tables
                assign addr = {beat_number, s_axis_tdata[8*lane +: 8]};
            end else begin : gen_table
                assign addr = s_axis_tdata[8*lane +: 8];
            end

            assign results[8*lane +: 8] = word_reg[8*BYTE +: 8];

            always @(posedge clk)
                if (enable)
                    word_reg <= memory[addr];
        end

        if (TABLES == 1) begin : gen_unused
            wire unused = &{1'b0, beat_number};
        end
    endgenerate

    axis_fifo #(
        .WIDTH(8*PIXELS*LANES), .DEPTH(FIFO_DEPTH)
    ) result_fifo (
        .clk(clk), .rst(rst),
        .s_axis_tdata(results), .s_axis_tlast(last_reg), .s_axis_tvalid(valid_reg),
        .s_axis_tready(ready),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast),
        .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready)
    );

endmodule

`default_nettype wire
